from opentelemetry import trace
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from uwsgidecorators import postfork

import recorder

exporter = InMemorySpanExporter()


@postfork
def trace_requests():
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def application(environ, start_response):
    trace.get_tracer_provider().force_flush()
    return recorder.respond(start_response, spans=len(exporter.get_finished_spans()))


application = OpenTelemetryMiddleware(application)
