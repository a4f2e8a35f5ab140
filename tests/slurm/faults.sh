# Sourced after common.sh: what happens to a job of train.sbatch, a function each. Every one ends with the run finished, and
# the same, step for step, as an undisturbed one.

# begin OPTION...: submits the run $name, and waits until it is in the middle
begin() {
  submit "$name" "$@"
  await 90 "$name: the first steps" reached 25
}
finish() {
  await 180 "$name: the end of the run" ended
  expect_state COMPLETED
  expect_same
  says "finished"
}
urgent() { run sbatch --partition=urgent --nodes=3 --exclusive --time=5 --output=/dev/null --wrap "sleep 1" >/dev/null; }

fault_signal() {
  begin
  run scancel --batch --signal=USR1 "$job"
  finish
  says "told to stop"
  says "it goes back into the queue"
  [ "$(num_events start)" -eq 2 ] || fail "$name: more than two starts"
}
# The job that takes the nodes is sent twice SIGTERM within milliseconds by Slurm.
fault_preempt_requeue() {
  begin --exclusive
  urgent
  finish
  says "told to stop"
  says "Slurm has put it back into the queue"
}
fault_preempt_cancel() {
  begin --partition=cancel --exclusive
  urgent
  finish
  says "told to stop"
  says "it goes back into the queue"
}
fault_requeue() {
  begin
  run scontrol requeue "$job"
  finish
  says "told to stop"
  says "Slurm has put it back into the queue"
}
# A user who cancels a job means it.
fault_cancelled() {
  begin
  run scancel "$job"
  await 60 "$name: the end of the job" ended
  await 60 "$name: the job's own account" has_events end 1
  says "it was cancelled, and is not put back into the queue"
  expect_state CANCELLED
  submit "$name"
  finish
}
fault_rank_killed() {
  begin
  kill -9 "$(ranks | tail -n 1)"
  finish
  says "lost a rank or could not start (exit code 137)"
}
# The node of the script, and another one.
fault_node_killed() {
  begin
  "$cluster/node" kill "$1"
  await 90 "$name: Slurm's notice of the dead node" node_is "$1" 'down[*].*'
  "$cluster/node" start "$1"
  await 60 "$name: the node again" node_is "$1" 'idle|mix|alloc'
  finish
}
# In the middle of a checkpoint: what there is of it has not got its name.
fault_node_killed_in_checkpoint() {
  local base=$name
  for attempt in 1 2 3; do
    name=$base-$attempt
    begin --begin=now -- --set run.checkpoint_every=1
    # From the login node itself, which is quicker.
    run bash -c 'until compgen -G "$1/checkpoints/.unfinished-*" >/dev/null; do :; done; "$HOSTS" kill h1' kill_in_checkpoint \
      "$scratch/$name"
    if compgen -G "$scratch/$name/checkpoints/.unfinished-*" >/dev/null; then break; fi
    [ "$attempt" -lt 3 ] || fail "no kill came in the middle of a checkpoint"
    run scancel "$job"
    await 90 "$name: Slurm's notice of the dead node" node_is h1 'down[*].*'
    "$cluster/node" start h1
    await 60 "$name: the node again" node_is h1 'idle|mix|alloc'
  done
  await 90 "$name: Slurm's notice of the dead node" node_is h1 'down[*].*'
  "$cluster/node" start h1
  finish
}
# A network that is cut for good: the ranks end at their deadline, with the names of those that were silent; these are the
# last two.
fault_node_cut() {
  begin -- --set parallel.deadline_seconds=4
  "$cluster/node" cut h1
  await 60 "$name: the end of the first job" has_events end 1
  says "(exit code 3)"
  grep -qE '^These ranks do not answer: (2|3|2 3)$' "$scratch/$name-$job.log" ||
    fail "$name: the silent ranks are not named"
  await 90 "$name: Slurm's notice of the dead node" node_is h1 'down[*].*'
  "$cluster/node" kill h1
  "$cluster/node" start h1
  finish
}
# Its ranks go on without it, and Slurm gives nobody that node until it is back.
fault_slurmd_killed() {
  begin
  "$cluster/node" kill-slurmd h1
  sleep 3
  "$cluster/node" start h1
  finish
}
# The job goes on to its end there; the next one begins on the other nodes.
fault_drain() {
  begin
  run scontrol update NodeName=h1 State=DRAIN Reason=test
  run scancel --batch --signal=USR1 "$job"
  finish
  run scontrol update NodeName=h1 State=RESUME
}
# On another number of nodes, in jobs of their own.
fault_resized() {
  SUCCESSOR_NODES=1 begin --nodes=3 --no-requeue
  run scancel --batch --signal=USR1 "$job"
  await 60 "$name: the end of the first job" ended
  expect_state FAILED
  finish_successor
}
fault_preempt_resized() {
  SUCCESSOR_NODES=1 begin --nodes=3 --no-requeue --exclusive
  urgent
  await 60 "$name: the end of the first job" has_events end 1
  finish_successor
}
finish_successor() {
  local first=$job
  job=$(sed -nE 's/.*"next":"job ([0-9]+) goes on".*/\1/p' "$scratch/$name/jobs.jsonl" | tail -n 1)
  if [ -z "$job" ] || [ "$job" = "$first" ]; then fail "$name: there is no successor"; fi
  finish
  [ "$(sed -nE 's/.*"type":"start".*"ranks":([0-9]+),.*/\1/p' "$scratch/$name/jobs.jsonl" | xargs)" = "6 2" ] ||
    fail "$name: it did not go on with 2 ranks instead of 6"
}

# A task of an array for each of two seeds; one is the undisturbed run's.
fault_array() {
  local base=$name
  submit "$name-%a" --array=1-2 --nodes=1 -- --set train.seed=%a
  await 120 "$base: the end of both tasks" array_ended
  for task in 1 2; do
    name=$base-$task
    says '"next":""'
    losses "$scratch/$name" >"$scratch/$name.losses"
    [ "$(wc -l <"$scratch/$name.losses")" -eq "$(losses "$scratch/undisturbed" | wc -l)" ] || fail "$name has not all steps"
  done
  if cmp -s "$scratch/$base-1.losses" "$scratch/$base-2.losses"; then fail "two seeds have the same losses"; fi
}
array_ended() { [ -z "$(run squeue --noheader --jobs="$job")" ]; }
# A node that has just died, and which Slurm still takes for a good one.
fault_node_dead_at_start() {
  "$cluster/node" kill h1
  submit "$name" --nodes=3
  await 90 "$name: Slurm's notice of the dead node" node_is h1 'down[*].*'
  "$cluster/node" start h1
  finish
}
