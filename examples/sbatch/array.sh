#!/bin/bash
# Four tasks of an array, each on a simulated GPU. Nothing in here knows of AI-HOW:
#   ai-how shell -- sbatch examples/sbatch/array.sh
#SBATCH --job-name=array
#SBATCH --array=1-4
#SBATCH --gres=gpu:a100:1
#SBATCH --time=00:05:00
#SBATCH --output=array-%A_%a.log

echo "task $SLURM_ARRAY_TASK_ID runs on $SLURMD_NODENAME, devices: $CUDA_VISIBLE_DEVICES"
srun echo "a step of task $SLURM_ARRAY_TASK_ID"
