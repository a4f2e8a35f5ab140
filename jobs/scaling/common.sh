# shellcheck shell=bash disable=SC2154 # `program` is the caller's
# Sourced by `study` and by jobs/slurm/scaling.sbatch, which set `program` and a function `start_ranks RANKS COMMAND...`.

# setting DIRECTORY KEY: of the study there; a line for each value
setting() { sed -n "s/^$2 //p" "$1/study"; }

# read_task DIRECTORY NUMBER: the task's columns of points.tsv, as variables
read_task() {
  local line
  line=$(awk -F '\t' -v task="$2" '$1 == task' "$1/points.tsv")
  if [ -z "$line" ]; then
    echo "scaling: $1/points.tsv has no task $2" >&2
    return 2
  fi
  # Those who call it read them.
  # shellcheck disable=SC2034
  IFS=$'\t' read -r task point repeat nodes ranks expert_parallel exchange global_batch <<<"$line"
}

# run_task DIRECTORY NUMBER: trains, and keeps what the records say as a line in results/. What an earlier try has left is
# removed first. Returns the exit code of the run, or of what failed after it.
run_task() {
  local directory=$1 name run code=0 sets=()
  read_task "$1" "$2" || return
  name=$point.$repeat
  run=$directory/runs/$name
  rm -rf "$run"
  mkdir -p "$directory/runs" "$directory/results"
  while read -r each; do sets+=(--set "$each"); done < <(setting "$directory" set)
  start_ranks "$ranks" train --config "$directory/config.conf" "${sets[@]}" --set "run.directory=$run" \
    --set "train.steps=$(setting "$directory" steps)" --set run.checkpoint_every=0 --set train.eval_every=0 \
    --set "train.global_batch=$global_batch" --set "parallel.ranks=$ranks" --set "parallel.exchange=$exchange" \
    --set "parallel.expert_parallel=$expert_parallel" >"$run.log" 2>&1 || code=$?
  # Every run ends with one.
  rm -rf "$run/checkpoints"
  if [ "$code" -eq 0 ]; then
    # A result is there whole or not at all.
    { "$program" scaling measure "$directory" "$2" >"$directory/results/.$name" &&
      mv "$directory/results/.$name" "$directory/results/$name.json"; } || code=$?
  fi
  if [ "$code" -ne 0 ]; then
    echo "scaling: task $2, $name, failed with exit code $code: $(tail -n 1 "$run.log")" >&2
    return "$code"
  fi
  printf 'task %s, %s: %s\n' "$2" "$name" "$(grep '^step' "$run.log" | tail -n 1)"
}
