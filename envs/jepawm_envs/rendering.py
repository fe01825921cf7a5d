"""Pictures from MuJoCo on any machine: which OpenGL library draws them, and a camera that survives forks.

MuJoCo draws through one of several OpenGL libraries ("backends"). :func:`backend` chooses:

1. ``MUJOCO_GL``, where it is set;
2. EGL, where a graphics card and its driver answer;
3. OSMesa, drawn by the processor: no card, display or driver is needed;
4. EGL drawn by the processor, then GLFW where there is a display.

Nothing happens at import. EGL and GLFW are tried in a process of their own, because a driver that fails can take the
process with it or leave the library in a state in which OSMesa fails too. On the processor OSMesa comes before EGL:
both are the same Mesa code, equally fast (0.03 s for a 224-pixel picture with shadows), and EGL's tear-down at the
end of a process reports errors.

The choice holds whether or not ``mujoco`` was imported before: cameras take the context class of the chosen backend
and not the one that ``mujoco`` fixed at its import.
"""

from __future__ import annotations

import atexit
import ctypes
import ctypes.util
import glob
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.errors import EnvError, InvalidOption, choose

Quality = Literal["paper", "fast"]
QUALITIES = ("paper", "fast")

INSTALL = {
    "egl": "apt-get install libegl1 (and the driver of the graphics card)",
    "osmesa": "apt-get install libosmesa6",
    "glfw": "apt-get install libglfw3, and a display",
}
SYSTEM_LIBRARIES = {"win32": ("glfw", "wgl"), "darwin": ("glfw", "cgl")}
OFF = ("disable", "disabled", "off", "false", "0")
ON = ("", "enable", "enabled", "on", "true", "1")
SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader")
PROBE_SECONDS = 60.0
PROBE = """
import json, mujoco
from OpenGL import GL
context = mujoco.GLContext(16, 16)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_150)
print(json.dumps({name: GL.glGetString(getattr(GL, "GL_" + name.upper())).decode() for name in ("vendor", "renderer")}),
      flush=True)
import os
os._exit(0)
"""


class RenderingError(EnvError):
    """No picture can be drawn on this machine; says what to install."""


@lru_cache(maxsize=1)
def backend() -> str:
    """The OpenGL library that draws: ``egl``, ``osmesa`` or ``glfw``; elsewhere than on Linux, ``native``.

    Raises:
        RenderingError: if none works, or ``MUJOCO_GL`` switches rendering off or is unknown.
    """
    wanted = _wanted()
    if wanted in OFF:
        raise RenderingError(f"MUJOCO_GL={wanted} switches rendering off; unset it, or do not ask for pictures.")
    if sys.platform != "linux":
        return "native"
    if wanted == "glx":
        return "glfw"
    if wanted in INSTALL:
        return wanted
    if _has_graphics_card():
        found = _probe("egl")
        if found is not None and not any(name in found["renderer"].lower() for name in SOFTWARE):
            return "egl"
    if _osmesa_works():
        return "osmesa"
    if _probe("egl") is not None:
        return "egl"
    if (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and _probe("glfw") is not None:
        return "glfw"
    raise RenderingError(
        "No OpenGL library works here, so MuJoCo cannot draw. On a machine without a graphics card: "
        f"{INSTALL['osmesa']}. With one: {INSTALL['egl']}. MUJOCO_GL=egl or osmesa then shows the error of one."
    )


def load_mujoco(module: str = "mujoco") -> Any:
    """The package ``mujoco``, or a module of it, imported now. Its types are not known to checkers.

    Importing it fails for a ``MUJOCO_GL`` that it does not know, or whose library does not load, also where nothing
    is drawn, and says little. This says what is wrong. With rendering switched off it imports.

    Raises:
        RenderingError: if ``MUJOCO_GL`` is unknown or its library does not load.
        ModuleNotFoundError: without the package.
    """
    wanted = _wanted()
    if wanted in INSTALL:
        _load_triton_first()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise
    except Exception as problem:
        if wanted in INSTALL:
            raise RenderingError(_no_context(wanted, problem)) from problem
        raise


def prepare() -> None:
    """Make everything in this process draw with :func:`backend`; call it before creating a renderer.

    :class:`Camera` does so itself. Others (``mujoco.Renderer``, Gymnasium's MuJoCo renderer) read ``MUJOCO_GL``, some
    of them when ``mujoco`` is imported; so this sets the variable, which worker processes inherit, and puts the
    context class where ``mujoco.Renderer`` looks for it.

    Raises:
        RenderingError: as :func:`backend`, or if the library does not load.
    """
    chosen = backend()
    if chosen == "native":
        return
    os.environ["MUJOCO_GL"] = chosen
    context = _context_class(chosen)
    gl_context = load_mujoco("mujoco.gl_context")
    if getattr(gl_context, "GLContext", None) is not context:
        gl_context.GLContext = context  # type: ignore[attr-defined]


def describe() -> dict[str, str]:
    """What draws: ``backend``, ``chosen_by``, ``library``, and OpenGL's ``vendor``, ``renderer`` and ``version``.

    Raises:
        RenderingError: if nothing does.
    """
    by_user = _wanted() not in ON and not backend.cache_info().currsize
    chosen = backend()
    mujoco = load_mujoco()
    camera = Camera(mujoco.MjModel.from_xml_string("<mujoco/>"), 16, "fast")
    try:
        camera.render(mujoco.MjData(camera.model))
        gl = importlib.import_module("OpenGL.GL")
        strings = {name: gl.glGetString(getattr(gl, f"GL_{name.upper()}")).decode() for name in _GL_STRINGS}
    finally:
        camera.close()
    library = {"egl": "EGL", "osmesa": "OSMesa", "glfw": "glfw"}.get(chosen)
    return {
        "backend": chosen,
        "chosen_by": "MUJOCO_GL" if by_user else "jepawm_envs.rendering",
        "library": (ctypes.util.find_library(library) if library else None) or "bundled",
        **strings,
    }


_GL_STRINGS = ("vendor", "renderer", "version")


@dataclass(frozen=True)
class View:
    """A camera that no model names: it looks at a point from a distance."""

    lookat: tuple[float, float, float]
    distance: float
    azimuth: float
    """Degrees about the vertical axis; 0 looks along +x."""
    elevation: float
    """Degrees; -90 looks straight down."""


class Camera:
    """Draws square pictures of a MuJoCo model.

    The OpenGL context is created by the first picture and freed by :meth:`close`, at the latest when the process
    ends. A process that was forked while a camera was open gets a context of its own, as workers of
    ``multiprocessing`` do; a child of a bare ``os.fork`` must end with ``os._exit``, because Mesa's exit handlers wait
    for threads that only the parent has. A camera that is copied or pickled travels without its context. Not for use
    by several threads at once.

    Args:
        model: ``mujoco.MjModel``. Its visual settings may change between pictures, its meshes and textures not.
        size: height and width of the pictures.
        quality: ``paper`` draws as the model says, with shadows, reflections and multisampling; ``fast`` leaves
            all three out.
        view: a :class:`View`, the name of a camera of the model, an ``mujoco.MjvCamera``, or None for MuJoCo's
            default free camera. May be replaced between pictures.
        bottom_first: rows as OpenGL stores them, from the bottom up, instead of from the top down.

    Raises:
        InvalidOption: for an unknown quality or camera.
    """

    def __init__(
        self, model: Any, size: int, quality: Quality = "paper", *, view: Any = None, bottom_first: bool = False
    ):
        choose("render_quality", quality, QUALITIES)
        self.model, self.size = model, int(size)
        self.quality: Quality = quality
        self.view, self.bottom_first = view, bottom_first
        self._parts: _Parts | None = None

    def render(self, data: Any) -> NDArray[np.uint8]:
        """The picture of ``data`` (``mujoco.MjData`` after ``mj_forward``), (size, size, 3).

        Raises:
            RenderingError: if nothing on this machine can draw.
        """
        mujoco = load_mujoco()
        parts = self._current_parts()
        mujoco.mjv_updateScene(
            self.model, data, parts.options, None, self._free_camera(), mujoco.mjtCatBit.mjCAT_ALL, parts.scene
        )
        return self._read(mujoco, parts)

    def close(self) -> None:
        """Free the context; a later picture creates a new one."""
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.free()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": None}

    def __del__(self) -> None:
        parts = self.__dict__.get("_parts")
        if parts is not None and not sys.is_finalizing():
            parts.free()

    def _read(self, mujoco: Any, parts: _Parts) -> NDArray[np.uint8]:
        if self.quality == "fast":
            parts.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            parts.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        rectangle = mujoco.MjrRect(0, 0, self.size, self.size)
        picture = np.empty((self.size, self.size, 3), np.uint8)
        parts.gl.make_current()
        mujoco.mjr_render(rectangle, parts.scene, parts.mjr)
        mujoco.mjr_readPixels(picture, None, rectangle, parts.mjr)
        return picture if self.bottom_first else np.ascontiguousarray(picture[::-1])

    def _current_parts(self) -> _Parts:
        if self._parts is not None and self._parts.process != os.getpid():
            self.close()  # a forked child has no use for its parent's context
        if self._parts is None:
            self._parts = _Parts(self.model, self.size, self.quality)
        return self._parts

    def _free_camera(self) -> Any:
        mujoco = load_mujoco()
        if isinstance(self.view, mujoco.MjvCamera):
            return self.view
        camera = mujoco.MjvCamera()
        if self.view is None:
            mujoco.mjv_defaultFreeCamera(self.model, camera)
        elif isinstance(self.view, View):
            camera.type = mujoco.mjtCamera.mjCAMERA_FREE
            camera.lookat[:] = self.view.lookat
            camera.distance, camera.azimuth = self.view.distance, self.view.azimuth
            camera.elevation = self.view.elevation
        else:
            camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
            camera.fixedcamid = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_CAMERA, str(self.view))
            if camera.fixedcamid < 0:
                names = [self.model.camera(index).name for index in range(self.model.ncam)]
                raise InvalidOption(f"The model has no camera {self.view!r}; it has {', '.join(names) or 'none'}.")
        return camera


class _Parts:
    """What one process needs for one camera: OpenGL context, MuJoCo's context, scene and options."""

    def __init__(self, model: Any, size: int, quality: Quality):
        prepare()
        mujoco = load_mujoco()
        self.process = os.getpid()
        self.scene = mujoco.MjvScene(model, maxgeom=max(1000, 2 * (model.ngeom + model.nsite)))
        self.options = mujoco.MjvOption()
        chosen = backend()
        try:
            self.gl = _context_class(chosen)(size, size)
            self.gl.make_current()
            self.mjr = _drawing_context(mujoco, model, size, quality)
        except Exception as problem:
            raise RenderingError(_no_context(chosen, problem)) from problem
        _open_parts.add(self)

    def free(self) -> None:
        _open_parts.discard(self)
        if self.process != os.getpid():
            # Freeing what belongs to the parent process can hang, even as the interpreter ends: never collect it.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
            return
        self.gl.make_current()
        self.mjr.free()
        self.gl.free()


_open_parts: weakref.WeakSet[_Parts] = weakref.WeakSet()


@atexit.register
def _free_all() -> None:
    """Contexts must go before the OpenGL libraries do, else they print errors as the process ends."""
    for parts in list(_open_parts):
        parts.free()


def _drawing_context(mujoco: Any, model: Any, size: int, quality: Quality) -> Any:
    """MuJoCo's context for one size; it reads the model's settings once, and they are put back."""
    sizes, detail = model.vis.global_, model.vis.quality
    kept = sizes.offwidth, sizes.offheight, detail.offsamples
    sizes.offwidth = sizes.offheight = size
    if quality == "fast":
        detail.offsamples = 0
    try:
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
    finally:
        sizes.offwidth, sizes.offheight, detail.offsamples = kept
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    return context


def _wanted() -> str:
    """What ``MUJOCO_GL`` asks for, lower case; empty where it is not set."""
    wanted = os.environ.get("MUJOCO_GL", "").lower().strip()
    choices = SYSTEM_LIBRARIES.get(sys.platform, tuple(INSTALL))
    if wanted not in (*OFF, *ON, *choices, "glx"):
        raise RenderingError(f"MUJOCO_GL={wanted} is not known; choose one of {', '.join(choices)}, or unset it.")
    return wanted


@lru_cache(maxsize=4)
def _context_class(chosen: str) -> Any:
    if chosen == "native":
        return load_mujoco("mujoco.gl_context").GLContext
    _load_triton_first()
    # Mesa's software drawing starts threads that do not survive a fork, and a forked child then waits for them for
    # ever. Without them pictures are as fast as with them on few cores, and many workers do not crowd each other.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        return importlib.import_module(f"mujoco.{chosen}").GLContext
    except Exception as problem:
        raise RenderingError(_no_context(chosen, problem)) from problem


def _no_context(chosen: str, problem: Exception) -> str:
    platform = os.environ.get("PYOPENGL_PLATFORM")
    hint = f" PYOPENGL_PLATFORM={platform} must be unset or agree with it." if platform not in (None, chosen) else ""
    install = f" Perhaps it is missing: {INSTALL[chosen]}." if chosen in INSTALL else ""
    return (
        f"The OpenGL library {chosen!r} gives no context ({type(problem).__name__}: {_first_line(problem)}).{install}"
        f"{hint} MUJOCO_GL chooses another one."
    )


def _first_line(problem: Exception) -> str:
    try:
        return (str(problem).splitlines() or ["no message"])[0]
    except Exception:  # PyOpenGL's EGL errors raise when they are printed
        return "no message"


def _has_graphics_card() -> bool:
    return any(glob.glob(pattern) for pattern in ("/dev/nvidia[0-9]*", "/dev/dri/renderD*", "/dev/dxg"))


def _osmesa_works() -> bool:
    """Create and destroy one context; OSMesa touches no driver, so this is safe in our own process."""
    os.environ.setdefault("LP_NUM_THREADS", "0")
    _load_triton_first()
    names = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so", ctypes.util.find_library("OSMesa"))
    for name in filter(None, names):
        try:
            library = ctypes.CDLL(name)
            create, destroy = library.OSMesaCreateContextExt, library.OSMesaDestroyContext
        except (OSError, AttributeError):
            continue
        create.restype, create.argtypes = ctypes.c_void_p, [ctypes.c_uint, *[ctypes.c_int] * 3, ctypes.c_void_p]
        destroy.restype, destroy.argtypes = None, [ctypes.c_void_p]
        context = create(0x1908, 24, 8, 0, None)  # OSMESA_RGBA
        if context:
            destroy(context)
            return True
    return False


@lru_cache(maxsize=1)
def _load_triton_first() -> None:
    """Load the compiled part of package ``triton``, where it is installed, before Mesa's libraries.

    Both bring an LLVM of their own. PyOpenGL makes the symbols of Mesa's visible to all, and triton, which torch
    imports with its first optimizer, then calls into the wrong one and takes the process with it. In the other order
    each keeps to its own. This imports neither triton nor torch. Where somebody else has loaded Mesa before, it is too
    late, and trying would be the crash itself.
    """
    if any(module in sys.modules for module in ("mujoco.osmesa", "mujoco.egl", "OpenGL.osmesa", "OpenGL.EGL")):
        return
    package = importlib.util.find_spec("triton")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for library in glob.glob(os.path.join(folder, "_C", "libtriton*")):
            try:
                ctypes.CDLL(library)
            except OSError:  # then it cannot be imported later either
                continue


@lru_cache(maxsize=4)
def _probe(name: str) -> Mapping[str, str] | None:
    """Vendor and renderer of a backend, tried in a process of its own; None if it does not work."""
    environment = {**os.environ, "MUJOCO_GL": name}
    environment.pop("PYOPENGL_PLATFORM", None)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=True,
        )
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return None
