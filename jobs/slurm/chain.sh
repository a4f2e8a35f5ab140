# Sourced by train.sbatch, with `run` as the run's folder: a training run as a chain of jobs, of which RUN/jobs.jsonl keeps
# the account, and what becomes of a job at its end. Steps are counted by checkpoints, and by the records of the run.
account=$run/jobs.jsonl
most_starts_without_progress=${MOST_STARTS_WITHOUT_PROGRESS:-3}
most_restarts=${MOST_RESTARTS:-200}

# How Slurm calls this job in commands.
job=$SLURM_JOB_ID
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
restarts=${SLURM_RESTART_COUNT:-0}

# The step of the newest whole checkpoint, 0 if there is none.
saved_step() {
  local folder
  folder=$(readlink "$run/checkpoints/latest" 2>/dev/null) || folder=step-0
  echo $((10#${folder##*step-}))
}
# lost_steps STEP: how many steps have records after that one, and their seconds
lost_steps() {
  tail -n 20000 "$run/metrics.jsonl" 2>/dev/null |
    sed -nE 's/.*"type":"step","step":([0-9]+),.*"seconds":([0-9.eE+-]+),"phases".*/\1 \2/p' |
    awk -v saved="$1" '$1 > saved { ++steps; seconds += $2 } END { printf "%d %.3f\n", steps, seconds }'
}
# write_down KIND FIELD...: a line of the account
write_down() {
  local IFS=,
  printf '{"type":"%s","job":"%s","restart":%d,"time":%(%s)T,%s}\n' "$1" "$job" "$restarts" -1 "${*:2}" >>"$account"
}
# fact NAME: from Slurm's record of this job; by the number of an array it shows all tasks.
fact() {
  { scontrol show job -o "$SLURM_JOB_ID" 2>/dev/null || true; } | sed -nE "/^JobId=$SLURM_JOB_ID /s/^(.* )?$1=([^ ]*).*/\2/p"
}

# measured_leave: the seconds that the slowest of the last steps and of the last checkpoints of this run took; nothing where
# it has not written one yet.
measured_leave() {
  { tail -n 20000 "$run/metrics.jsonl" 2>/dev/null || true; } |
    sed -nE -e 's/.*"type":"step",.*"seconds":([0-9.eE+-]+),"phases".*/step \1/p' \
      -e 's/.*"type":"checkpoint",.*"total_seconds":([0-9.eE+-]+).*/save \1/p' |
    awk '{ if ($2 > most[$1]) most[$1] = $2 } END { if ("save" in most) printf "%.0f\n", most["step"] + most["save"] + 0.5 }'
}

begin_job() {
  local lost
  mkdir -p "$run"
  first_step=$(saved_step)
  time_limit_ends=$(date -d "$(fact EndTime)" +%s 2>/dev/null || echo 0)
  read -r -a lost < <(lost_steps "$first_step")
  write_down start "\"nodes\":$SLURM_JOB_NUM_NODES" "\"ranks\":$num_ranks" "\"from_step\":$first_step" \
    "\"lost_steps\":${lost[0]}" "\"lost_seconds\":${lost[1]}"
}

# How many starts in a row, this one included, began at the step of this one, and did not end by being told to.
starts_without_progress() {
  awk -v step="$first_step" '
    /"type":"start"/ { same = $0 ~ "\"from_step\":" step ","; starts = same ? starts + 1 : 0 }
    /"type":"end"/ && /"exit":75,/ { starts = 0 }
    END { print starts + 0 }' "$account"
}

# log_pattern FILE: the log's name for another job. Folders, and longer numbers, may contain this job's number by chance.
log_pattern() { sed -E "s/^(.*[^0-9]|)$SLURM_JOB_ID([^0-9/][^/]*|)\$/\1%j\2/" <<<"${1//%/%%}"; }

# A job of its own that goes on behind this one: on as many nodes as SUCCESSOR_NODES says, such as 1-4, and otherwise as this.
submit_successor() {
  local options variable forget=() answer
  options=("--dependency=afterany:$SLURM_JOB_ID" "--job-name=$SLURM_JOB_NAME" "--partition=$SLURM_JOB_PARTITION"
    "--nodes=${SUCCESSOR_NODES:-$SLURM_JOB_NUM_NODES}" "--ntasks-per-node=$tasks_per_node" "--time=$(fact TimeLimit)"
    "--signal=B:USR1@$grace_seconds" "--output=$(log_pattern "$(fact StdOut)")")
  if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then options+=("--cpus-per-task=$SLURM_CPUS_PER_TASK"); fi
  # Slurm would put it back with the nodes that it had.
  if [ -n "${SUCCESSOR_NODES:-}" ]; then options+=(--no-requeue); fi
  if [ -n "${SLURM_JOB_ACCOUNT:-}" ]; then options+=("--account=$SLURM_JOB_ACCOUNT"); fi
  if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then options+=("--array=$SLURM_ARRAY_TASK_ID"); fi
  # What describes this job must not describe the next.
  for variable in $(compgen -e | grep -E '^(SLURM|SRUN|PMIX|OMPI_COMM)_' | grep -v '^SLURM_CONF$'); do forget+=(-u "$variable"); done
  answer=$(env "${forget[@]}" sbatch --parsable "${options[@]}" "$here/train.sbatch" "${arguments[@]}") || return
  next="job ${answer%%;*} goes on"
}

# Whether it is in the queue again, as far as the controller answers.
was_requeued() {
  local counted
  counted=$(fact Restarts)
  [ -n "$counted" ] && [ "$counted" != "$restarts" ]
}

# go_on: puts the job back into the queue, or says in `next` why not. Slurm does so itself with a job that it requeues for
# another (PreemptMode=REQUEUE), or whose node has failed; one that a user has cancelled stays so.
go_on() {
  local state
  state=$(fact JobState)
  if was_requeued; then
    next="Slurm has put it back into the queue"
  elif [ -n "$state" ] && [ "$state" != RUNNING ] && [ "$(fact PreemptTime)" = None ] &&
    [ "$(date +%s)" -lt "$time_limit_ends" ]; then
    next="it was cancelled, and is not put back into the queue"
  elif [ -z "${SUCCESSOR_NODES:-}" ] && { scontrol requeue "$job" || was_requeued; }; then
    next="it goes back into the queue"
  elif ! submit_successor; then
    next="neither scontrol requeue nor sbatch took it; submit it again"
  fi
}

# end_job CODE: says why the job ends and what comes next, and ends it
end_job() {
  local code=$1 saved why next="submit it again when the cause is found"
  # Slurm sends SIGTERM to every process of a job that it puts back into the queue, also to the scontrol that asked for it,
  # which would then seem to have failed. What is ignored here is ignored by them.
  trap '' TERM USR1
  saved=$(saved_step)
  case $code in
    0) why="finished (train.steps or run.stop_after)"; next= ;;
    75) why="told to stop"; go_on ;;
    1 | 2) why="the program failed (exit code $code, its message is above)" ;;
    *)
      why="lost a rank or could not start (exit code $code)"
      if [ "$saved" -le "$first_step" ] && [ "$(starts_without_progress)" -ge "$most_starts_without_progress" ]; then
        next="$most_starts_without_progress starts in a row got no further than step $saved; $next"
      elif [ "$restarts" -ge "$most_restarts" ]; then
        next="it has been restarted $restarts times (MOST_RESTARTS); $next"
      else
        go_on
      fi ;;
  esac
  write_down end "\"exit\":$code" "\"saved_step\":$saved" "\"why\":\"$why\"" "\"next\":\"$next\""
  echo "job $job ends at step $saved: $why${next:+; $next}"
  exit "$code"
}
