"""How long jobs that wait for each other take on a number of devices."""

import heapq

from slimdit.plan.jobs import PlannedJob


def makespan_s(jobs: list[PlannedJob], seconds: list[float], devices: int, cores: int) -> float:
    """Seconds until the last job ends, where free cores and devices go to the job with the longest
    chain of jobs behind it.

    cores: of each device's machine; a job has the threads that it asks for on one of them.
    """
    followers: list[list[int]] = [[] for _ in jobs]
    for position, job in enumerate(jobs):
        for earlier in job.after:
            followers[earlier].append(position)

    chains: dict[int, float] = {}

    def chain(position: int) -> float:
        """Seconds from the start of a job to the end of all that wait for it."""
        if position not in chains:
            behind = max(map(chain, followers[position]), default=0.0)
            chains[position] = seconds[position] + behind
        return chains[position]

    free_devices, free_cores = devices, devices * cores
    waits_for = [len(job.after) for job in jobs]
    ready = [position for position, count in enumerate(waits_for) if not count]
    running: list[tuple[float, int]] = []
    now_s = 0.0
    while ready or running:
        for position in sorted(ready, key=chain, reverse=True):
            job = jobs[position]
            if job.threads(cores) <= free_cores and job.gpus <= free_devices:
                free_cores -= job.threads(cores)
                free_devices -= job.gpus
                ready.remove(position)
                heapq.heappush(running, (now_s + seconds[position], position))
        now_s, ended = heapq.heappop(running)
        free_cores += jobs[ended].threads(cores)
        free_devices += jobs[ended].gpus
        for later in followers[ended]:
            waits_for[later] -= 1
            if not waits_for[later]:
                ready.append(later)
    return now_s
