"""Environment modules in a batch script. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

# `module` is a function of the shell. What came along with the job may say where it is told; else it is what a login
# shell reads, which sets PATH anew: what was on it stays in front. Where neither tells, it may be there all the same.
_FINDING = r"""# A batch shell is no login shell: what `module` is may have to be told to it.
knows_modules() { command -v module >/dev/null 2>&1; }
for init in "${LMOD_PKG:-}" "${MODULESHOME:-}" /etc/profile /usr/share/{lmod/lmod,modules,Modules}; do
    if knows_modules; then break; fi
    if [ -d "$init" ]; then init=$init/init/bash; fi
    if [ -f "$init" ]; then
        before=$PATH
        . "$init"
        PATH=$before:$PATH
    fi
done
if ! knows_modules; then
    echo "ai-how: no module system is found on $(uname -n), and modules are asked for: @MODULES@" >&2
    echo "ai-how: neither LMOD_PKG, MODULESHOME nor /etc/profile tells this shell what module is" >&2
    echo "ai-how: install environment-modules or lmod there, or ask for none" >&2
    exit 1
fi
load_module() {
    module load "$1" && return
    echo "ai-how: the module $1 is not loaded on $(uname -n); module avail shows there which can be" >&2
    exit 1
}"""


def loading(modules: Sequence[str]) -> Iterator[str]:
    """The lines of bash that load these modules, or end the script and say why; none for no modules.

    They come before `set -e`, `set -u` and `umask`: what centres have in /etc/profile knows neither of the first two,
    and may set the last anew.
    """
    if not modules:
        return
    quoted = " ".join(shlex.quote(module) for module in modules)
    asked = "".join(f"\\{letter}" if letter in '"$`\\' else letter for letter in quoted)
    yield from _FINDING.replace("@MODULES@", asked).split("\n")
    for module in modules:
        yield f"load_module {shlex.quote(module)}"
