import random

from tuner.measure import Precision, measure


def bucket_sort(values, buckets):
    table = [[] for _ in range(buckets)]
    for value in values:
        table[int(value * buckets)].append(value)
    return [value for bucket in table for value in sorted(bucket)]


def evaluate(config):
    inputs = [([random.Random(k).random() for _ in range(5000)], config["buckets"]) for k in range(4)]
    found = measure(bucket_sort, inputs, precision=Precision(width=0.02, limit_s=0.1, warmup_s=0.01))
    return found.metrics("latency")
