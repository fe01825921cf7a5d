"""MuJoCo pictures: the backend that is chosen, cameras that live side by side, in workers and after copies."""

from __future__ import annotations

import copy
import multiprocessing
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

mujoco: Any = pytest.importorskip("mujoco")

from jepawm_envs import rendering  # noqa: E402
from jepawm_envs.errors import InvalidOption  # noqa: E402
from jepawm_envs.rendering import Camera, RenderingError, View  # noqa: E402

XML = """<mujoco><worldbody><light pos="0 0 3"/><camera name="top" pos="0 0 4"/>
<geom type="plane" size="5 5 .1" rgba=".2 .3 .4 1"/><geom type="sphere" size=".4" pos="0 1 .4" rgba="1 0 0 1"/>
</worldbody></mujoco>"""


@pytest.fixture
def scene():
    try:
        rendering.backend()
    except RenderingError as problem:
        pytest.skip(str(problem))
    model = mujoco.MjModel.from_xml_string(XML)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    return subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, timeout=60
    )


def redness(picture: np.ndarray) -> tuple[float, float]:
    """Row and column of the middle of what is red."""
    rows, columns = np.nonzero((picture[..., 0] > 100) & (picture[..., 1] < 60))
    return rows.mean(), columns.mean()


def test_a_ball_towards_plus_y_is_in_the_upper_half_and_bottom_first_turns_it_over(scene):
    model, data = scene
    upright, over = Camera(model, 64, view="top"), Camera(model, 64, view="top", bottom_first=True)
    row, column = redness(upright.render(data))
    assert row < 28 and abs(column - 31.5) < 1
    np.testing.assert_array_equal(over.render(data), upright.render(data)[::-1])


def test_a_view_looks_where_it_says(scene):
    model, data = scene
    row, column = redness(Camera(model, 64, view=View((0.0, 1.0, 0.4), 4.0, 90.0, -90.0)).render(data))
    assert abs(row - 31.5) < 1 and abs(column - 31.5) < 1


def test_cameras_of_several_sizes_and_qualities_take_turns_without_disturbing_each_other(scene):
    model, data = scene
    cameras = [Camera(model, 700, "paper"), Camera(model, 32, "fast"), Camera(model, 64, "paper")]
    before = model.vis.global_.offwidth, model.vis.quality.offsamples
    first = [camera.render(data) for camera in cameras]
    assert [picture.shape for picture in first] == [(700, 700, 3), (32, 32, 3), (64, 64, 3)]
    for camera, picture in reversed(list(zip(cameras, first, strict=True))):
        np.testing.assert_array_equal(camera.render(data), picture)
    assert (model.vis.global_.offwidth, model.vis.quality.offsamples) == before


def test_a_closed_and_a_copied_camera_draw_again(scene):
    model, data = scene
    camera = Camera(model, 32, view="top")
    picture = camera.render(data)
    camera.close()
    camera.close()
    np.testing.assert_array_equal(camera.render(data), picture)
    np.testing.assert_array_equal(copy.deepcopy(camera).render(data), picture)


def test_unknown_names_are_refused(scene):
    model, data = scene
    with pytest.raises(InvalidOption, match="it has top"):
        Camera(model, 32, view="side").render(data)
    with pytest.raises(InvalidOption, match="paper, fast"):
        Camera(model, 32, "nice")  # pyright: ignore[reportArgumentType]


def _draw_in_worker(queue, size: int) -> None:
    model = mujoco.MjModel.from_xml_string(XML)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    queue.put(Camera(model, size, view="top").render(data))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_draw_the_same_picture(scene, method):
    if method == "fork" and sys.platform != "linux":
        pytest.skip("only Linux forks safely")
    model, data = scene
    camera = Camera(model, 32, view="top")
    expected = camera.render(data)  # so that a context is open when the worker starts
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    worker = context.Process(target=_draw_in_worker, args=(queue, 32), daemon=True)
    worker.start()
    try:
        np.testing.assert_array_equal(queue.get(timeout=60), expected)
    finally:
        worker.join(timeout=10)
        if worker.is_alive():
            worker.kill()
    assert worker.exitcode == 0


def test_importing_the_module_does_nothing():
    done = run_python(
        "import os, sys; before = dict(os.environ); import jepawm_envs.rendering;"
        "assert before == dict(os.environ); assert not {'mujoco', 'OpenGL'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_the_choice_also_serves_when_mujoco_was_imported_before_and_a_process_ends_quietly(scene):
    done = run_python(
        "import mujoco; from jepawm_envs import rendering; rendering.prepare();"
        f"model = mujoco.MjModel.from_xml_string('''{XML}'''); renderer = mujoco.Renderer(model, 16, 16);"
        "renderer.render(); renderer.close(); camera = rendering.Camera(model, 16);"
        "camera.render(mujoco.MjData(model)); print(rendering.describe()['backend'])"
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, rendering.backend(), "")


@pytest.mark.skipif(sys.platform != "linux", reason="backends are chosen on Linux only")
@pytest.mark.parametrize(("value", "word"), [("off", "switches rendering off"), ("directx", "choose one of")])
def test_a_useless_mujoco_gl_is_refused_with_a_sentence(value, word):
    done = run_python("from jepawm_envs import rendering; rendering.backend()", MUJOCO_GL=value)
    assert done.returncode == 1 and "RenderingError" in done.stderr and word in done.stderr


MAKE = "env = gymnasium.make('JepaWM/{}', obs_type='state', render_mode=None); env.reset(seed=0)"
MUJOCO_ENVS = ["PointMaze-v0", "MetaworldReach-v0"]


@pytest.mark.parametrize("name", MUJOCO_ENVS)
def test_an_unknown_mujoco_gl_is_a_sentence_also_where_no_picture_is_asked_for(name):
    if "Metaworld" in name:
        pytest.importorskip("metaworld")
    done = run_python(f"import gymnasium, jepawm_envs; {MAKE.format(name)}", MUJOCO_GL="bogus")
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and "RenderingError: MUJOCO_GL=bogus is not known; choose one of" in last


@pytest.mark.parametrize("name", MUJOCO_ENVS)
@pytest.mark.parametrize("value", ["off", "disable"])
def test_states_need_no_rendering(name, value):
    if "Metaworld" in name:
        pytest.importorskip("metaworld")
    code = (
        f"import gymnasium, jepawm_envs; {MAKE.format(name)}; env.step(env.action_space.sample());"
        "from jepawm_envs.rendering import RenderingError\n"
        "try: env.unwrapped.draw(env.unwrapped.state, 32)\n"
        "except RenderingError as problem: print(problem)"
    )
    done = run_python(code, MUJOCO_GL=value)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"MUJOCO_GL={value} switches rendering off")


@pytest.mark.skipif(sys.platform != "linux", reason="PyOpenGL loads these libraries on Linux only")
def test_a_library_that_does_not_load_is_a_sentence_when_mujoco_is_imported():
    done = run_python(
        "from jepawm_envs.rendering import load_mujoco; load_mujoco()", MUJOCO_GL="egl", PYOPENGL_PLATFORM="osmesa"
    )
    assert "RenderingError: The OpenGL library 'egl' gives no context" in done.stderr.strip().splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="backends are chosen on Linux only")
def test_without_any_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering, "_osmesa_works", lambda: False)
    monkeypatch.setattr(rendering, "_probe", lambda name: None)
    with pytest.raises(RenderingError, match="apt-get install libosmesa6"):
        rendering.backend.__wrapped__()


@pytest.mark.skipif(sys.platform != "linux", reason="backends are chosen on Linux only")
@pytest.mark.parametrize(
    ("card", "renderer", "osmesa", "expected"),
    [
        (True, "NVIDIA H200", True, "egl"),
        (True, "llvmpipe (LLVM 15)", True, "osmesa"),
        (True, None, True, "osmesa"),
        (False, "llvmpipe (LLVM 15)", True, "osmesa"),
        (False, "llvmpipe (LLVM 15)", False, "egl"),
    ],
)
def test_the_order_of_backends(monkeypatch, card, renderer, osmesa, expected):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering, "_has_graphics_card", lambda: card)
    monkeypatch.setattr(rendering, "_osmesa_works", lambda: osmesa)
    found = None if renderer is None else {"renderer": renderer, "vendor": ""}
    monkeypatch.setattr(rendering, "_probe", lambda name: found if name == "egl" else None)
    assert rendering.backend.__wrapped__() == expected


@pytest.mark.parametrize("chosen", ["", "osmesa"])
def test_torch_s_compiler_can_be_imported_after_pictures_were_drawn(chosen):
    pytest.importorskip("triton", reason="triton is not installed, so it cannot clash with Mesa")
    code = (
        "import sys, gymnasium, jepawm_envs\n"
        "env = gymnasium.make('JepaWM/PointMaze-v0', image_size=16)\n"
        "env.reset(seed=0)[0]['pixels']\n"
        "assert 'torch' not in sys.modules and 'triton' not in sys.modules\n"
        "import triton\n"
        "print('alive')\n"
    )
    environment = {**os.environ, "MUJOCO_GL": chosen}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "alive", (done.returncode, done.stderr)
