#!/bin/bash
#SBATCH --job-name=digits
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=1G
#SBATCH --time=2-00:00:00
#SBATCH --chdir="/srv/ada's site/share/jobs/digits-abababab/recipe"
#SBATCH --output="/srv/ada's site/log/jobs/digits-%j.log"
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@60
#SBATCH --requeue

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
    echo "ai-how: no module system is found on $(uname -n), and modules are asked for: cuda/12.6 nccl" >&2
    echo "ai-how: neither LMOD_PKG, MODULESHOME nor /etc/profile tells this shell what module is" >&2
    echo "ai-how: install environment-modules or lmod there, or ask for none" >&2
    exit 1
fi
load_module() {
    module load "$1" && return
    echo "ai-how: the module $1 is not loaded on $(uname -n); module avail shows there which can be" >&2
    exit 1
}
load_module cuda/12.6
load_module nccl
set -u
umask 077
export MLFLOW_TRACKING_URI=http://127.0.0.1:5000
export MLFLOW_RUN_ID=0af1
export AI_HOW_OUTPUT_DIR='/srv/ada'"'"'s site/share/jobs/digits-abababab/output'
export AI_HOW_CHECKPOINT_DIR='/srv/ada'"'"'s site/share/jobs/digits-abababab/checkpoint'
export AI_HOW_FACTS='/srv/ada'"'"'s site/share/jobs/digits-abababab/facts.json'
export PYTHONPATH='/srv/ada'"'"'s site/share/jobs/digits-abababab/recipe'"${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
export OMP_NUM_THREADS=1
export OMP_WAIT_POLICY=PASSIVE
export NO_PROXY=127.0.0.1,localhost
export no_proxy=127.0.0.1,localhost
export DO_NOT_TRACK=1
export MLFLOW_DISABLE_TELEMETRY=true
export HF_HUB_DISABLE_TELEMETRY=1

# Heard from here on: before there is a step, the notice is kept for it.
told=
trap 'told=1' USR1
mkdir -p "$AI_HOW_OUTPUT_DIR" "$AI_HOW_CHECKPOINT_DIR"
echo "$SLURM_JOB_ID" >'/srv/ada'"'"'s site/share/jobs/digits-abababab/job_id'
rm -f "$AI_HOW_CHECKPOINT_DIR/requeue" '/srv/ada'"'"'s site/share/jobs/digits-abababab/ended'
# What the job's programs put aside goes with it; a former life that was killed may have left some.
export TMPDIR=/tmp/ai-how-job-abababab
rm -rf "$TMPDIR"; mkdir -m 700 "$TMPDIR" || exit
trap 'rm -rf "$TMPDIR"; touch '"'"'/srv/ada'"'"'"'"'"'"'"'"'s site/share/jobs/digits-abababab/ended'"'"'' EXIT
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
master=$(scontrol --oneliner show node "$head" | sed "s/.* NodeAddr=\([^ ]*\).*/\1/")
port=$('/software/torch env/bin/python' -c 'import socket; s = socket.socket(); s.bind(('"'"''"'"', 0)); print(s.getsockname()[1])')
pass_on() {
    while sleep 3; kill -0 "$step" 2>/dev/null; do
        scancel --signal=USR1 "$SLURM_JOB_ID"
    done
}
srun --kill-on-bad-exit=1 bash -c 'trap '"'"''"'"' USR1; exec '"'"'/software/torch env/bin/python'"'"' -m ai_how_job.torchrun --nnodes=1 --nproc-per-node=1 --node-rank="$SLURM_NODEID" --master-addr="$0" --master-port="$1" train.py' "$master" "$port" &
step=$!
trap 'trap "" USR1; pass_on &' USR1
if [ -n "$told" ]; then kill -USR1 $$; fi
# `wait` returns when the signal comes, too; the step has ended when it is gone.
while wait "$step"; status=$?; kill -0 "$step" 2>/dev/null; do :; done
if [ -e "$AI_HOW_CHECKPOINT_DIR/requeue" ]; then
    scontrol requeue "$SLURM_JOB_ID" || exit
    exit 0
fi
exit "$status"
