#!/usr/bin/env python3
"""LoRA Forge without a WebUI: builds its own environment beside itself, then runs in it. Standard library only.

Whatever it installs goes to ``.venv`` in this folder and nowhere else. Each part is stamped with the hash of what was
asked for, after it is in: later starts are instant, and an install that was cut off goes on where it stopped.

The syntax stays readable for Python 3.6, so that an old Python gets a sentence and not a SyntaxError.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, Optional, Tuple

OLDEST = (3, 10)
HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, ".venv")

USAGE = """\
usage: python3 standalone.py VERB [options]

  demo [--out DIR]   the whole job on the bundled toy world: photos, ten epochs, grid, scores, recommendation
                     (a few minutes on two cores, no graphics card needed; files in ./demo unless --out is given)
  ui [--port N]      LoRA Forge in a browser, without a WebUI
  test [options]     every check and test that needs no graphics card and no WebUI, on two stacks: newest libraries,
                     and those that AUTOMATIC1111 pins; with options, only pytest with these, on the newest:
                     standalone.py test -k buckets -x
                     --stack newest|a1111 in front of them: on this stack alone

The first start installs what the verb needs into .venv in this folder, and nothing anywhere else;
to start over, delete .venv. Everything else is in its command line: .venv/bin/lora-forge --help
(Windows: .venv\\Scripts\\lora-forge --help).

Environment:
  TORCH_INDEX_URL    package index for torch alone, such as PyTorch's own for CUDA, ROCm or CPU builds
  INDEX_URL          package index for the rest; pip's own PIP_INDEX_URL, PIP_FIND_LINKS ... work as well
A torch that the running Python already has is used when it reaches a graphics card.
"""

# Prints the folder torch lies in when it reaches an accelerator.
TORCH_PROBE = """
import os, torch
mps = getattr(torch.backends, "mps", None)
xpu = getattr(torch, "xpu", None)
if torch.cuda.is_available() or (mps and mps.is_available()) or (xpu and xpu.is_available()):
    print(os.path.dirname(os.path.dirname(torch.__file__)))
"""


# Prints a JSON object, file name -> path, of what torch and everything it asks for put into site-packages.
TORCH_FILES = """
import json, re
from importlib import metadata
seen, todo, found = {"setuptools"}, ["torch"], {}  # each environment has its own
while todo:
    name = re.sub("[-_.]+", "-", todo.pop()).lower()
    if name in seen:
        continue
    seen.add(name)
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        continue
    tops = {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}
    found.update({top: str(distribution.locate_file(top)) for top in tops})
    wishes = [wish for wish in distribution.requires or [] if "extra ==" not in wish]
    todo.extend(re.match(r"[\\w.-]+", wish).group() for wish in wishes)
print(json.dumps(found))
"""


class CannotInstallError(Exception):
    """The environment can't be built; the message is the sentence to show."""


class Stack:
    """One environment: where it lies and what it is made of."""

    def __init__(self, folder: str, parts: List[str]) -> None:
        self.folder = folder
        self.parts = parts
        self.stamp = os.path.join(folder, "lora-forge.json")
        self.log = os.path.join(folder, "install.log")
        # The environment's own Python.
        self.python = os.path.join(folder, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


NEWEST = Stack(VENV, ["torch", "core", "ui", "extras", "nodeps", "dev"])
# Inside .venv, so that deleting that starts everything over and no tool looks into it.
A1111 = Stack(os.path.join(VENV, "a1111"), ["torch", "a1111", "a1111-nodeps"])
STACKS = {"newest": NEWEST, "a1111": A1111}


def main(argv: List[str]) -> int:
    """Run a verb; returns the exit code (on POSIX the process is replaced and this never returns)."""
    if sys.version_info < OLDEST:
        have = ".".join(map(str, sys.version_info[:3]))
        say(f"error: LoRA Forge needs Python 3.10 or newer, this is {have}. Start it as: python3.11 standalone.py ...")
        return 1
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if argv else 2
    verb, options = argv[0], argv[1:]
    parts = {"demo": ["torch", "core"], "ui": ["torch", "core", "ui"], "test": []}
    if verb not in parts:
        say(f"error: there is no verb {verb!r}; it is one of demo, ui, test. See: standalone.py --help")
        return 2
    try:
        if verb == "test":
            return test(options)
        install(NEWEST, parts[verb])
    except CannotInstallError as problem:
        say(f"error: {problem}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted. The next start goes on from here.")
        return 130
    return hand_over([NEWEST.python, "-m", "lora_forge", verb, *options])


# In a thread that works beside others: ``lines``, what it says, kept for later.
KEPT = threading.local()


def say(text: str) -> None:
    """A line for the person; standard output is left to what runs later."""
    if hasattr(KEPT, "lines"):
        KEPT.lines.append(text)
        return
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


# ---------------------------------------------------------------- the environment


def wanted(part: str) -> str:
    """Hash of what ``part`` asks for; a change makes the next start install it again."""
    name = "pyproject.toml" if part == "package" else f"requirements-{part}.txt"
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        text = file.read()
    if part == "package":  # the tools' settings below that line change nothing that is installed
        text = text.split("[tool.ruff]")[0]
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def read_stamp(stack: Stack) -> Dict[str, str]:
    """Part -> hash of what is in; empty when nothing is sure."""
    try:
        with open(stack.stamp, encoding="utf-8") as file:
            stamp = json.load(file)
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(stack: Stack, stamp: Dict[str, str]) -> None:
    """Replace the stamp whole, so that a cut leaves the old one."""
    with open(stack.stamp + ".part", "w", encoding="utf-8") as file:
        json.dump(stamp, file, indent=1)
    os.replace(stack.stamp + ".part", stack.stamp)


def install(stack: Stack, parts: List[str]) -> None:
    """Bring ``parts`` and the package itself into the stack, as far as its stamp says they are not.

    Raises:
        CannotInstallError: with one sentence on what is missing and what to do.
    """
    stamp = read_stamp(stack) if os.path.exists(stack.python) else {}
    missing = [part for part in [*parts, "package"] if stamp.get(part) != wanted(part)]
    if not missing:
        return
    if not stamp and not venv_works(stack):
        make_venv(stack)
    for part in missing:
        if stamp.pop(part, None):
            write_stamp(stack, stamp)
        install_part(stack, part)
        stamp[part] = wanted(part)
        write_stamp(stack, stamp)


def venv_works(stack: Stack) -> bool:
    """Whether it holds a usable Python with pip; one that was cut off while it was made does not."""
    try:
        code = f"import pip, sys; sys.exit(sys.version_info < {OLDEST})"
        return subprocess.call([stack.python, "-c", code], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def make_venv(stack: Stack) -> None:
    """Make it anew; the newest sees the running Python's torch when that one reaches an accelerator."""
    try:
        import ensurepip  # noqa: F401
        import venv
    except ImportError:
        raise CannotInstallError(
            "this Python lacks its venv module. On Debian or Ubuntu: apt install python3-venv; then start again."
        ) from None
    torch_dir = accelerated_torch() if stack is NEWEST else None
    say(f"Making the environment {os.path.relpath(stack.folder, HERE)} ...")
    try:
        venv.EnvBuilder(clear=True, with_pip=True, symlinks=os.name != "nt").create(stack.folder)
    except (OSError, subprocess.CalledProcessError) as problem:
        raise CannotInstallError(f"the environment {stack.folder} can't be made: {problem}.") from None
    if torch_dir:
        borrow_packages(stack, torch_dir)
        say(f"Using the torch that is already there: {torch_dir}")


def accelerated_torch() -> Optional[str]:
    """The folder of the running Python's torch when it reaches an accelerator, else None."""
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        return None
    probe = subprocess.run([sys.executable, "-c", TORCH_PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    lines = probe.stdout.decode("utf-8", "replace").split("\n")
    return (lines[0].strip() or None) if probe.returncode == 0 else None


def borrow_packages(stack: Stack, folder: str) -> None:
    """Let the stack see the packages in ``folder``, behind its own.

    A line in a .pth file and not ``--system-site-packages``: that would miss a torch that lies in another virtual
    environment, the usual place.
    """
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.check_output([stack.python, "-c", code]).decode().strip()
    with open(os.path.join(site, "zz_lora_forge_torch.pth"), "w", encoding="utf-8") as file:
        file.write(folder + "\n")


def share_torch(stack: Stack) -> None:
    """Let ``stack`` see the newest stack's torch and what torch itself needs, and nothing else of it.

    A folder of links: gigabytes are neither fetched nor stored twice, and no other library of that stack can step in
    for one that is missing in this one.
    """
    found = json.loads(subprocess.check_output([NEWEST.python, "-c", TORCH_FILES]).decode("utf-8"))
    folder = os.path.join(stack.folder, "torch")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name, path in found.items():
        try:
            os.symlink(path, os.path.join(folder, name), target_is_directory=os.path.isdir(path))
        except OSError:  # Windows lets only some accounts make links
            copy = shutil.copytree if os.path.isdir(path) else shutil.copy
            copy(path, os.path.join(folder, name))
    borrow_packages(stack, folder)


# ---------------------------------------------------------------- pip


def install_part(stack: Stack, part: str) -> None:
    """One pip call; for torch none when the environment already sees a fitting one."""
    if stack is A1111 and part == "torch":
        share_torch(stack)
        return
    label = {
        "torch": "torch",
        "core": "diffusers, peft, transformers",
        "ui": "gradio",
        "extras": "optional optimizers, readers and what faces and tags run on",
        "nodeps": "insightface",
        "dev": "the tools of the tests",
        "a1111": "what AUTOMATIC1111 pins",
        "a1111-nodeps": "insightface and onnx as they go there",
        "package": "LoRA Forge itself",
    }[part]
    index = os.environ.get("INDEX_URL")
    if part == "torch":
        index = os.environ.get("TORCH_INDEX_URL") or index
        if subprocess.call([stack.python, "-c", "import torch"], stderr=subprocess.DEVNULL) == 0:
            return
        torch_hint()
    what = ["-e", HERE] if part == "package" else ["-r", os.path.join(HERE, f"requirements-{part}.txt")]
    what = ["--no-deps", *what] if part == "package" or part.endswith("nodeps") else what
    pip = [stack.python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    pip += ["--no-input", "--retries", "2"] + (["--index-url", index] if index else [])
    # Compiling all of torch takes longer than unpacking it; what is imported is compiled then, and kept.
    pip += ([] if sys.dont_write_bytecode else ["--no-compile"]) + what
    before = time.time()
    code = run_with_clock(
        stack.log, pip, f"Installing {label}" + (" (the largest part, minutes)" if part == "torch" else "")
    )
    if code:
        raise CannotInstallError(explain(stack, label))
    say(f"Installed {label} in {time.time() - before:.0f} s")


def torch_hint() -> None:
    """The plain index's torch fits most machines, not all: say so before gigabytes are fetched."""
    if os.environ.get("TORCH_INDEX_URL") or os.environ.get("PIP_FIND_LINKS"):
        return
    has_nvidia = shutil.which("nvidia-smi") is not None
    if has_nvidia and os.name == "nt":
        say(
            "Note: on Windows the plain torch can't use the graphics card. For one that can, stop here (Ctrl-C), set "
            "TORCH_INDEX_URL to the CUDA index that PyTorch's install page names, and start again."
        )
    elif not has_nvidia and sys.platform.startswith("linux"):
        say(
            "Note: no NVIDIA card found, yet the plain torch for Linux brings several GB of CUDA. TORCH_INDEX_URL can "
            "name PyTorch's CPU or ROCm index instead."
        )


def run_with_clock(log_path: str, command: List[str], label: str) -> int:
    """Run ``command`` with its output in the log; a ticking clock on a terminal, one line elsewhere."""
    is_terminal = sys.stderr.isatty() and not hasattr(KEPT, "lines")
    say(f"{label} ...") if not is_terminal else None
    started = time.time()
    with open(log_path, "ab") as log:
        log.write(("\n$ " + " ".join(command) + "\n").encode("utf-8"))
        log.flush()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            while True:
                try:
                    return process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    if is_terminal:
                        sys.stderr.write(f"\r{label} ... {time.time() - started:.0f} s ")
                        sys.stderr.flush()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            if is_terminal:
                sys.stderr.write("\r\033[K")


def explain(stack: Stack, label: str) -> str:
    """One sentence for what pip's log says went wrong."""
    with open(stack.log, encoding="utf-8", errors="replace") as file:
        text = file.read().rsplit("\n$ ", 1)[-1]
    low = text.lower()
    offline = ("connection", "name resolution", "getaddrinfo", "timed out", "proxyerror", "sslerror", "unreachable")
    if "no space left" in low:
        return f"the disk is full: {label} needs more room in {stack.folder}. Free some and start again."
    if any(word in low for word in offline):
        return (
            f"the package index can't be reached, so {label} can't be installed. Connect to the network (or set "
            f"PIP_INDEX_URL to a mirror you can reach) and start again; the details are in {stack.log}."
        )
    if "no matching distribution" in low or "no_index" in low or "--no-index" in low:
        version = ".".join(map(str, sys.version_info[:2]))
        return (
            f"the package index has no build of {label} for Python {version} on this machine. Python 3.10 to 3.13 on "
            f"64-bit Windows, Linux or an Apple-silicon Mac is needed; the details are in {stack.log}."
        )
    last = [line for line in text.split("\n") if line.strip()][-1:]
    return f"installing {label} failed ({''.join(last).strip()[:200]}); the details are in {stack.log}."


# ---------------------------------------------------------------- running


def hand_over(command: List[str]) -> int:
    """Become ``command``; on Windows, where a process can't, run it and pass its exit code on."""
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], command)
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the child has had it too and ends in its own way
            continue


def test(options: List[str]) -> int:
    """Install and run what ``test`` asks for: both stacks, or one stack alone, or pytest alone with options.

    Raises:
        CannotInstallError: as :func:`install` does.
    """
    name, options = split_stack(options)
    if name is not None and name not in STACKS:
        say(f"error: there is no stack {name!r}; it is one of {', '.join(STACKS)}.")
        return 2
    os.chdir(HERE)
    # One thread a process: two processes of one thread beat one of two on a small machine.
    os.environ.update({"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"})
    stack = STACKS[name or "newest"]
    refusal = too_new_for_a1111()
    if stack is A1111 and refusal:
        raise CannotInstallError(refusal)
    install_stack(stack)
    if options:
        return hand_over([stack.python, "-m", "pytest", *options])
    if name is None and not refusal:
        return test_both()
    failed = run_checks() if stack is NEWEST else []
    code = run_pytest(stack)
    if name is None:
        say(f"Note: {refusal}")
    return verdict([code], failed)


def test_both() -> int:
    """The checks and all tests, the second stack's environment being made beside the first one's checks.

    Raises:
        CannotInstallError: as :func:`install` does, after the first stack's tests.
    """
    with ThreadPoolExecutor(1) as beside:
        second = beside.submit(install_silently, A1111)
        failed = run_checks()
        codes = [run_pytest(NEWEST)]
        said, problem = second.result()
    for line in said:
        say(line)
    if problem:
        raise problem
    codes.append(run_pytest(A1111))
    return verdict(codes, failed)


def install_silently(stack: Stack) -> Tuple[List[str], Optional[CannotInstallError]]:
    """:func:`install_stack` in a thread beside others: what it says, and why it ended early."""
    KEPT.lines = []
    try:
        install_stack(stack)
    except CannotInstallError as problem:
        return KEPT.lines, problem
    return KEPT.lines, None


def verdict(codes: List[int], failed: List[str]) -> int:
    """The command's exit code, from pytest's and the names of the checks that failed."""
    if failed:
        say(f"error: {', '.join(failed)} failed, see above the tests.")
    return max(codes) or int(bool(failed))


def split_stack(options: List[str]) -> Tuple[Optional[str], List[str]]:
    """The stack that the first option names, and pytest's own options."""
    first = options[0] if options else ""
    if first.startswith("--stack="):
        return first[len("--stack=") :], options[1:]
    if first == "--stack":
        return "".join(options[1:2]), options[2:]
    return None, options


def install_stack(stack: Stack) -> None:
    """All of it; A1111's sees the newest one's torch, so that comes first."""
    if stack is A1111:
        install(NEWEST, ["torch"])
    install(stack, stack.parts)


def too_new_for_a1111() -> str:
    """Why the running Python can't hold A1111's pins, or an empty text."""
    have = ".".join(map(str, sys.version_info[:2]))
    if sys.version_info[:2] <= (3, 11):
        return ""
    return f"AUTOMATIC1111's pins exist for Python 3.10 and 3.11 only and this is {have}: its stack is left out."


def run_checks() -> List[str]:
    """Style, types and imports; returns the names of those that failed."""
    python = NEWEST.python
    checks = {
        "ruff check": [python, "-m", "ruff", "check", "--quiet", "."],
        "ruff format": [python, "-m", "ruff", "format", "--quiet", "--check", "."],
        "mypy": [python, "-m", "mypy"],
        "import-linter": [os.path.join(os.path.dirname(python), "lint-imports"), "--no-cache"],
    }
    return [name for name, command in checks.items() if not passes(name, command)]


def run_pytest(stack: Stack) -> int:
    """All tests; those marked ``once``, and what tests this file, do not depend on the stack and run on the newest."""
    workers = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "worksteal"]
    less = ["--ignore", os.path.join("tests", "test_standalone.py"), "-m", "not once"] if stack is A1111 else []
    print(f"pytest on the stack {next(name for name in STACKS if STACKS[name] is stack)}:", flush=True)
    return subprocess.call([stack.python, "-m", "pytest", *workers, *less])


def passes(name: str, command: List[str]) -> bool:
    """Run a check; its output is shown only when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.stdout.write(done.stdout.decode("utf-8", "replace"))
    print(f"{name}: {'failed' if done.returncode else 'passed'}", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
