#!/bin/bash
# A pipeline by dependencies, as research groups write them: prepare, then two in parallel, then collect; and a
# job that runs only because something failed.
set -e
prep=$(sbatch --parsable --job-name=prep --time=2 --wrap='echo 20 > prepared.txt')
left=$(sbatch --parsable --dependency=afterok:$prep --time=2 --wrap='echo $(( $(cat prepared.txt) + 1 )) > left.txt')
right=$(sbatch --parsable --dependency=afterok:$prep --time=2 --wrap='echo $(( $(cat prepared.txt) + 2 )) > right.txt')
final=$(sbatch --parsable --dependency=afterok:$left:$right --time=2 --wrap='cat left.txt right.txt | paste -sd+ | tr + " " > final.txt')
bad=$(sbatch --parsable --time=2 --wrap='exit 3')
rescue=$(sbatch --parsable --dependency=afternotok:$bad --time=2 --wrap='echo rescued > rescue.txt')
never=$(sbatch --parsable --dependency=afterok:$bad --kill-on-invalid-dep=yes --time=2 --wrap='touch never.txt')
echo "$prep $left $right $final $bad $rescue $never"
