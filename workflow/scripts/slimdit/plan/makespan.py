"""How long jobs that wait for each other take on a number of devices."""

import functools
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

    @functools.cache
    def chain_s(position: int) -> float:
        """From the start of a job to the end of all that wait for it."""
        return seconds[position] + max(map(chain_s, followers[position]), default=0.0)

    waiting = sorted(range(len(jobs)), key=chain_s, reverse=True)
    free_devices, free_cores = devices, devices * cores
    running: list[tuple[float, int]] = []
    ended: set[int] = set()
    now_s = 0.0
    while waiting or running:
        for position in tuple(waiting):
            job = jobs[position]
            is_free = job.threads(cores) <= free_cores and job.gpus <= free_devices
            if is_free and ended.issuperset(job.after):
                free_cores -= job.threads(cores)
                free_devices -= job.gpus
                waiting.remove(position)
                heapq.heappush(running, (now_s + seconds[position], position))
        now_s, position = heapq.heappop(running)
        free_cores += jobs[position].threads(cores)
        free_devices += jobs[position].gpus
        ended.add(position)
    return now_s
