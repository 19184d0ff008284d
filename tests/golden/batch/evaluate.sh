#!/bin/bash
#SBATCH --job-name=exact-match
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=00:10:00
#SBATCH --chdir=/srv/site/share/jobs/exact-match-abababab/recipe
#SBATCH --output=/srv/site/log/jobs/exact-match-%j.log
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@60
#SBATCH --requeue

set -u
umask 077
export MLFLOW_TRACKING_URI=http://127.0.0.1:5000
export MLFLOW_RUN_ID=0af1
export AI_HOW_OUTPUT_DIR=/srv/site/share/jobs/exact-match-abababab/output
export AI_HOW_CHECKPOINT_DIR=/srv/site/share/jobs/exact-match-abababab/checkpoint
export AI_HOW_FACTS=/srv/site/share/jobs/exact-match-abababab/facts.json
export PYTHONPATH=/srv/site/share/jobs/exact-match-abababab/recipe
export PYTHONUNBUFFERED=1
export OMP_NUM_THREADS=2
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
echo "$SLURM_JOB_ID" >/srv/site/share/jobs/exact-match-abababab/job_id
rm -f "$AI_HOW_CHECKPOINT_DIR/requeue" /srv/site/share/jobs/exact-match-abababab/ended
# What the job's programs put aside goes with it; a former life that was killed may have left some.
export TMPDIR=/tmp/ai-how-job-abababab
rm -rf "$TMPDIR"; mkdir -m 700 "$TMPDIR" || exit
trap 'rm -rf "$TMPDIR"; touch /srv/site/share/jobs/exact-match-abababab/ended' EXIT
pass_on() {
    while sleep 3; kill -0 "$step" 2>/dev/null; do
        scancel --signal=USR1 "$SLURM_JOB_ID"
    done
}
srun --kill-on-bad-exit=1 bash -c 'trap '"'"''"'"' USR1; exec /home/ada/.local/share/ai-how/envs/oumi-4567/bin/python evaluate.py --model /srv/site/share/models/site-facts-1/files' &
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
