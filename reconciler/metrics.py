"""Figures of the loop and of searches for Prometheus: read from the queue, the executor and the like when scraped."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from engines.live_recall import LiveRecall
from engines.search_tally import BOUNDS, SearchTally
from reconciler.assembly import Assembly


class LoopCollector(Collector):
    """Depths and counts as they are at the moment of a scrape; nothing is kept beside the objects themselves."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        queue = self._assembly.queue
        keys = GaugeMetricFamily("lakehouse_queue_keys", "Keys in the work queue, by what they wait for.", labels=("state",))
        keys.add_metric(("waiting",), queue.depth)
        keys.add_metric(("processing",), len(queue.processing))
        keys.add_metric(("delayed",), len(queue.delayed))
        yield keys
        jobs = GaugeMetricFamily("lakehouse_jobs", "Jobs that run or wait for a worker process.", labels=("state",))
        states = [job.state for job in self._assembly.executor.jobs()]
        for state in ("running", "queued"):
            jobs.add_metric((state,), states.count(state))
        yield jobs
        tally = self._assembly.driver.tally
        visits = CounterMetricFamily("lakehouse_reconciles", "Visits of objects, by how they ended.", labels=("kind", "outcome"))
        seconds = CounterMetricFamily("lakehouse_reconcile_seconds", "Seconds spent in visits.", labels=("kind", "outcome"))
        for label, count in list(tally.visits.items()):
            visits.add_metric(label, count)
            seconds.add_metric(label, tally.seconds[label])
        yield visits
        yield seconds
        objects = GaugeMetricFamily("lakehouse_objects", "Objects, by whether they are ready.", labels=("ready",))
        ready = [status.ready for status in self._assembly.state.statuses.all()]
        for truth in ("True", "False", "Unknown"):
            objects.add_metric((truth,), ready.count(truth))
        yield objects


def watch_loop(registry: CollectorRegistry, assembly: Assembly) -> None:
    """Adds the loop's figures to what is scraped."""
    registry.register(LoopCollector(assembly))


class RecallCollector(Collector):
    """Recall of searches that were repeated exactly, by index and model: there are as many series as specs name of both."""

    def __init__(self, recall: LiveRecall) -> None:
        self._recall = recall

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        estimates, counted = self._recall.figures()
        gauge = GaugeMetricFamily(
            "lakehouse_live_recall",
            "Recall at 10 of the last searches, and the bounds of its interval of 95 %.",
            labels=("index", "model", "bound"),
        )
        for of, estimate in estimates.items():
            for bound, number in estimate._asdict().items():
                gauge.add_metric((*of, bound), number)
        yield gauge
        samples = CounterMetricFamily(
            "lakehouse_live_recall_searches",
            "Searches chosen to be repeated exactly, by what became of them.",
            labels=("index", "model", "outcome"),
        )
        for label, count in counted.items():
            samples.add_metric(label, count)
        yield samples


class SearchCollector(Collector):
    """Searches by what answered them."""

    def __init__(self, tally: SearchTally) -> None:
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        found = HistogramMetricFamily(
            "lakehouse_search_seconds", "Time to answer a search, by what answered.", labels=("index", "model", "mode")
        )
        for of, times in self._tally.all().items():
            bounds = [*map(str, BOUNDS), "+Inf"]
            found.add_metric((of.index, of.model, of.mode), list(zip(bounds, accumulate(times.counts), strict=True)), times.seconds)
        yield found


def watch_searches(registry: CollectorRegistry, tally: SearchTally) -> None:
    """Adds how long searches took to what is scraped."""
    registry.register(SearchCollector(tally))


def watch_recall(registry: CollectorRegistry, recall: LiveRecall) -> None:
    """Adds what is known of recall to what is scraped."""
    registry.register(RecallCollector(recall))
