#!/bin/sh
# What pip cannot bring: OpenGL libraries, with which MuJoCo draws (OSMesa on a processor, EGL on a graphics card),
# and Python's venv module where Debian leaves it out. Quick when nothing is missing; where it may not install, it
# says what to install and goes on, since only MuJoCo's pictures need it.
set -eu
python="${1:-python3}"

missing=""
has_library() { ldconfig -p 2>/dev/null | grep -q "$1"; }
has_library libOSMesa.so || missing="$missing libosmesa6"
has_library libEGL.so || missing="$missing libegl1"
"$python" -c "import ensurepip, venv" 2>/dev/null || missing="$missing python3-venv"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Not installed here:$missing (Debian's names). Pictures of MuJoCo environments need OSMesa or EGL." >&2
    exit 0
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        echo "Run 'sudo apt-get install$missing' for pictures of MuJoCo environments." >&2
        exit 0
    fi
fi
echo "Installing$missing"
# shellcheck disable=SC2086 # several words are meant
if ! { $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq $missing; } >/dev/null; then
    echo "apt-get could not install$missing; pictures of MuJoCo environments may fail." >&2
fi
