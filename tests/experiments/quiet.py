"""A small net, and a watcher that shows nothing and counts the runs that ended."""

from dropbench.run.config import RunConfig

MLP = RunConfig(model="mlp", layers=(16,), epochs=2, batch_size=32)


class Quiet:
    """Counts the runs that ended."""

    def __init__(self):
        self.runs = 0

    def planned(self, agenda, jobs):
        pass

    def progress(self, worker, config, record):
        pass

    def finished(self, result):
        self.runs += 1

    def wants_to_stop(self):
        return False

    def wants_to_halt(self):
        return False
