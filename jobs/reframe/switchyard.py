"""ReFrame tests of an installed switchyard: training on 1, 2 and 4 ranks to the same loss, the exchange against its
reference, and the rates of both. The program is that of PATH, or `-S program=PATH`.
  reframe -C jobs/reframe/settings.py -c jobs/reframe/switchyard.py -r -S program=build/release/bin/switchyard
A site adds its own settings (`-C`), with its partitions and launcher, and reference values in `reference`."""
import os

import reframe as rfm
import reframe.utility.sanity as sn
from reframe.core.builtins import parameter, performance_function, run_before, sanity_function, variable


class SwitchyardTest(rfm.RunOnlyRegressionTest):
    """What all have in common: some ranks of a program."""

    program = variable(str, value="switchyard")
    num_ranks = parameter([1, 2, 4])
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    time_limit = "10m"

    @run_before("run")
    def set_ranks(self):
        self.num_tasks = self.num_ranks
        # A path that is relative is so to where reframe was started.
        self.executable = self.program if "/" not in self.program else os.path.abspath(self.program)


@rfm.simple_test
class Training(SwitchyardTest):
    """A small model: its loss after some steps is the same to the bit on every number of ranks."""

    descr = "training, reproducible"
    prerun_cmds = [
        "for i in $(seq 400); do echo \"the $((i * i % 97)) wagons are sorted onto track $((i % 7))\"; done >text.txt",
    ]
    settings = [
        "model.hidden=32", "model.layers=2", "model.heads=2", "model.kv_heads=1", "model.seq_len=32", "moe.experts=5",
        "moe.expert_width=16", "train.global_batch=8", "train.steps=20", "train.eval_every=0", "optimizer.warmup_steps=2",
        "numerics.mode=reproducible", "parallel.threads=1", "run.directory=run", "run.log_every=20", "data.path=text.txt",
    ]
    expected_loss = variable(float, value=4.9865)

    @run_before("run")
    def set_options(self):
        self.executable_opts = ["train", f"--set parallel.ranks={self.num_ranks}"]
        self.executable_opts += [f"--set {setting}" for setting in self.settings]

    @sanity_function
    def loss_is_right(self):
        loss = sn.extractsingle(r"step 20/20  loss (\S+) ", self.stdout, 1, float)
        # Other instruction sets round otherwise.
        return sn.assert_reference(loss, self.expected_loss, -1e-4, 1e-4)

    @performance_function("tokens/s")
    def rate(self):
        return sn.extractsingle(r"step 20/20 .* (\d+) tokens/s", self.stdout, 1, float)


@rfm.simple_test
class Exchange(SwitchyardTest):
    """Rows go to their experts and back, and are those of the reference."""

    descr = "exchange against its reference"

    @run_before("run")
    def set_options(self):
        self.executable_opts = ["bench", "exchange", "--threads", "1", "--seconds", "0", "--json"]

    @sanity_function
    def rows_are_right(self):
        return sn.all([sn.assert_found(r'"right":true', self.stdout), sn.assert_not_found(r'"right":false', self.stdout)])
