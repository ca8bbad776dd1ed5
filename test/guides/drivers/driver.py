"""Runs the Python program of docs/clients.md by the protocol of ../program.ts. It is the module `client`."""

import sys
from concurrent.futures import ThreadPoolExecutor

import client


def result(rejected):
    try:
        return client.access_token(rejected)
    except Exception as error:
        return " ".join(f"error: {error}".split())


for line in sys.stdin:
    count, rejected = line.split()
    with ThreadPoolExecutor(int(count)) as pool:
        results = pool.map(result, [None if rejected == "-" else rejected] * int(count))
        print("\t".join(results), flush=True)
