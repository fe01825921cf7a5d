"""One spelling for every JSON value, so that content can be hashed and compared."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Sorted keys, no white space, floats with as many digits as they need; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def sha256(value: Any) -> str:
    """Hash of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
