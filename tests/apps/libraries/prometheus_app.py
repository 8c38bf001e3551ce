import uwsgi
from prometheus_client import CollectorRegistry, Counter, generate_latest, multiprocess, values

import recorder

values.ValueClass = values.MultiProcessValue(process_identifier=uwsgi.worker_id)
SERVED = Counter("served", "Requests")


def application(environ, start_response):
    SERVED.inc()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    lines = generate_latest(registry).decode().splitlines()
    total = [line.split()[1] for line in lines if line.startswith("served_total ")]
    return recorder.respond(start_response, total=float(total[0]))
