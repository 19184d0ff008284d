#!/bin/bash
#SBATCH --job-name=serve-tiny
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=1G
#SBATCH --time=08:00:00
#SBATCH --chdir=/srv/site/share/replicas/abababab
#SBATCH --output=/srv/site/log/jobs/serve-tiny-%j.log
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@60
#SBATCH --no-requeue

# A notice that comes before the launcher listens must not end it.
trap '' USR1
# A batch shell is no login shell: what `module` is may have to be told to it.
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
    echo "ai-how: no module system is found on $(uname -n), and modules are asked for: cuda/12.4 apptainer" >&2
    echo "ai-how: neither LMOD_PKG, MODULESHOME nor /etc/profile tells this shell what module is" >&2
    echo "ai-how: install environment-modules or lmod there, or ask for none" >&2
    exit 1
fi
load_module() {
    module load "$1" && return
    echo "ai-how: the module $1 is not loaded on $(uname -n); module avail shows there which can be" >&2
    exit 1
}
load_module cuda/12.4
load_module apptainer
AI_HOW_APPTAINER=$(command -v apptainer || command -v singularity) || {
    echo "ai-how: an image is asked for; neither apptainer nor singularity is on PATH of $(uname -n)" >&2
    echo "ai-how: install one of them there, or name the module that brings it" >&2
    exit 1
}
export AI_HOW_APPTAINER
set -eu
umask 077
export DO_NOT_TRACK=1 HF_HUB_DISABLE_TELEMETRY=1 NO_PROXY=127.0.0.1,localhost
# The launcher takes the place of this shell, so Slurm's signals reach it at once.
exec python3 -I /srv/site/share/replicas/abababab/replica_launcher.py /srv/site/share/replicas/abababab/launch.json
