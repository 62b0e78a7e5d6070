"""Four processes do jobs for a fifth, one of them is killed, and the record says whose wish each job was.

    python examples/many_processes.py

Every message takes its context along (`carry`), and whoever works on it adopts it, so that `agent-trace
causes` leads from what happened in one process to the order that another process gave.
"""

import os
import signal
from multiprocessing import get_context

from Agent import AgentLogger, LogAnalyzer, adopt, carry, setup_logging, shutdown_logging, trace_agent_action

JOBS = 12
POISON = 10  # the process that takes this job is killed at it


class Worker:
    def __init__(self, name):
        self.agent_id, self.agent_role = name, "worker"

    @trace_agent_action()
    def work(self, job):
        if job == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return job * job


def serve(name, boss):
    worker = Worker(name)
    while (message := boss.recv()) is not None:
        with adopt(message["context"]):
            boss.send(worker.work(message["job"]))


def main():
    setup_logging()
    processes = get_context("spawn")
    boss, workers = AgentLogger("boss", "planner"), []
    for number in range(4):
        ours, theirs = processes.Pipe()
        process = processes.Process(target=serve, args=(f"worker_{number}", theirs))
        process.start()
        theirs.close()
        workers.append((process, ours))
    done = 0
    for job in range(JOBS):
        _, worker = workers[job % len(workers)]
        ordered = boss.log_action("order", {"job": job}, {})
        worker.send({"job": job, "context": carry(ordered)})
        try:
            boss.log_action("received", {"job": job}, {"answer": worker.recv()})
            done += 1
        except EOFError:
            boss.error(f"the worker of job {job} is gone")
    for process, worker in workers:
        if process.is_alive():
            worker.send(None)
        process.join(60)
    shutdown_logging()
    analyzer = LogAnalyzer()
    print(f"{done} of {JOBS} jobs done")
    for span in analyzer.in_flight():
        print(f"{span['agent_id']} began {span['name']}, and its process died")
    print(f"{analyzer.losses()['total_lost']} events lost")


if __name__ == "__main__":
    main()
