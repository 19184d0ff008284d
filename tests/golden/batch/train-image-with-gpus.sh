#!/bin/bash
#SBATCH --job-name=digits
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem=1G
#SBATCH --gres=gpu:a100:4
#SBATCH --time=01:00:00
#SBATCH --partition=gpu
#SBATCH --chdir=/srv/site/share/jobs/digits-abababab/recipe
#SBATCH --output=/srv/site/log/jobs/digits-%j.log
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
#SBATCH --requeue

AI_HOW_APPTAINER=$(command -v apptainer || command -v singularity) || {
    echo "ai-how: an image is asked for; neither apptainer nor singularity is on PATH of $(uname -n)" >&2
    echo "ai-how: install one of them there, or name the module that brings it" >&2
    exit 1
}
export AI_HOW_APPTAINER
set -u
umask 077
export MLFLOW_TRACKING_URI=http://127.0.0.1:5000
export MLFLOW_RUN_ID=0af1
export AI_HOW_OUTPUT_DIR=/srv/site/share/jobs/digits-abababab/output
export AI_HOW_CHECKPOINT_DIR=/srv/site/share/jobs/digits-abababab/checkpoint
export AI_HOW_FACTS=/srv/site/share/jobs/digits-abababab/facts.json
export PYTHONPATH=/srv/site/share/jobs/digits-abababab/recipe
export PYTHONUNBUFFERED=1
export OMP_NUM_THREADS=8
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
echo "$SLURM_JOB_ID" >/srv/site/share/jobs/digits-abababab/job_id
rm -f "$AI_HOW_CHECKPOINT_DIR/requeue" /srv/site/share/jobs/digits-abababab/ended
# What the job's programs put aside goes with it; a former life that was killed may have left some.
export TMPDIR=/tmp/ai-how-job-abababab
rm -rf "$TMPDIR"; mkdir -m 700 "$TMPDIR" || exit
trap 'rm -rf "$TMPDIR"; touch /srv/site/share/jobs/digits-abababab/ended' EXIT
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
master=$(scontrol --oneliner show node "$head" | sed "s/.* NodeAddr=\([^ ]*\).*/\1/")
port=$("$AI_HOW_APPTAINER" exec --nv --bind /srv/site/share '/images/torch 2.sif' python3 -c 'import socket; s = socket.socket(); s.bind(('"'"''"'"', 0)); print(s.getsockname()[1])')
pass_on() {
    while sleep 3; kill -0 "$step" 2>/dev/null; do
        scancel --signal=USR1 "$SLURM_JOB_ID"
    done
}
srun --kill-on-bad-exit=1 bash -c 'trap '"'"''"'"' USR1; exec "$AI_HOW_APPTAINER" exec --nv --bind /srv/site/share '"'"'/images/torch 2.sif'"'"' python3 -m ai_how_job.torchrun --nnodes=2 --nproc-per-node=4 --node-rank="$SLURM_NODEID" --master-addr="$0" --master-port="$1" train.py --note '"'"'it'"'"'"'"'"'"'"'"'s a test'"'"'' "$master" "$port" &
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
