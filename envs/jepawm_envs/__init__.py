"""Goal-conditioned environments for planning with world models.

Importing this package registers the ids (``JepaWM/Wall-v0``, ...) with Gymnasium; it never imports torch.
"""

from jepawm_envs.registration import ENVIRONMENTS as ENVIRONMENTS
from jepawm_envs.registration import register_all

register_all()
