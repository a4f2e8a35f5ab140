# Sourced by the job scripts and `submit`, with `here` as this folder: the site's settings, the program, and ranks that
# hear signals.
refuse() { echo "$1" >&2; exit 2; }

# What a site may set; sites/example.env says how.
sbatch_options=()
mpi_type=
cpu_bind=cores
grace_seconds=120
SITE_FILE=${SITE_FILE:-$here/sites/site.env}
if [ -r "$SITE_FILE" ]; then
  source "$SITE_FILE"
elif [ "$SITE_FILE" != "$here/sites/site.env" ]; then
  refuse "there is no file of site settings $SITE_FILE"
fi

# Sets `program`: what SWITCHYARD names; or a build in this folder, or in the tree of these scripts; or what is installed
# beside them, or in PATH.
find_program() {
  local candidate candidates=(build/release/bin/switchyard "$here/../../build/release/bin/switchyard"
    "$here/../../../../bin/switchyard" switchyard)
  if [ -n "${SWITCHYARD:-}" ]; then candidates=("$SWITCHYARD"); fi
  for candidate in "${candidates[@]}"; do
    if program=$(command -v "$candidate"); then
      program=$(realpath "$program")
      return
    fi
  done
  refuse "there is no program ${candidates[0]}; build it, or set SWITCHYARD to where it is"
}

# Sets how many ranks the job has, and how they are started.
read_allocation() {
  tasks_per_node=${SLURM_NTASKS_PER_NODE:-$((SLURM_NTASKS / SLURM_JOB_NUM_NODES))}
  num_ranks=$((SLURM_JOB_NUM_NODES * tasks_per_node))
  # srun takes the job's --cpus-per-task from here; since Slurm 22.05 from nowhere else.
  if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK; fi
  local offered
  if [ "$mpi_type" = mpirun ]; then return; fi
  offered=$(srun --mpi=list 2>&1 | sed -nE 's/^(srun: )?[[:space:]]*([a-z0-9_]+)$/\2/p' | xargs)
  mpi_type=${mpi_type:-pmix}
  if [[ " $offered " != *" $mpi_type "* ]]; then
    refuse "srun cannot start ranks by '$mpi_type', only by: $offered; set mpi_type to that of your MPI library, or to mpirun"
  fi
}

# What a node has, in GiB: what Slurm lets the job use, or all of it.
node_memory() {
  if [ -n "${SLURM_MEM_PER_NODE:-}" ]; then
    awk -v mib="$SLURM_MEM_PER_NODE" 'BEGIN { print mib / 1024 }'
  else
    awk '$1 == "MemTotal:" { print $2 / 1048576 }' /proc/meminfo
  fi
}

# SIGTERM and SIGUSR1, to this script, become SIGUSR1 to srun or mpirun, which passes it to all ranks. SIGTERM would make
# either kill them.
step=
stop_wanted=no
pass_on() {
  stop_wanted=yes
  if [ -n "$step" ]; then kill -s USR1 "$step" 2>/dev/null || true; fi
}
hear_signals() { trap pass_on TERM USR1; }

# run_ranks COMMAND...: on NODES nodes, all of the job's unless set. Returns its exit code, or 75 where the job was told to
# stop before.
run_ranks() {
  local nodes=${NODES:-$SLURM_JOB_NUM_NODES} launcher
  if [ "$stop_wanted" = yes ]; then return 75; fi
  if [ "$mpi_type" = mpirun ]; then
    launcher=(mpirun --map-by "ppr:$tasks_per_node:node" --bind-to none -n $((nodes * tasks_per_node)))
  else
    # One rank that dies ends all; the others would wait for it until their deadline.
    launcher=(srun "--mpi=$mpi_type" "--cpu-bind=$cpu_bind" "--nodes=$nodes" "--ntasks-per-node=$tasks_per_node"
      "--ntasks=$((nodes * tasks_per_node))" --kill-on-bad-exit=1)
  fi
  "${launcher[@]}" "$@" </dev/null &
  step=$!
  if [ "$stop_wanted" = yes ]; then pass_on; fi
  # A trap ends `wait` early.
  while kill -0 "$step" 2>/dev/null; do wait "$step" || true; done
  local code=0
  wait "$step" || code=$?
  step=
  return "$code"
}
