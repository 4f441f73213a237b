"""A collector that takes OTLP over HTTP, or refuses it."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps what it took; answers everything with `status`."""

    metrics: list[ExportMetricsServiceRequest]
    traces: list[ExportTraceServiceRequest]
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.status == 200 and self.path == "/v1/metrics":
            self.metrics.append(ExportMetricsServiceRequest.FromString(body))
        if self.status == 200 and self.path == "/v1/traces":
            self.traces.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def collecting() -> Iterator[tuple[str, type[Collector]]]:
    """Its address, and what it keeps; stopped at the end."""
    kind = type("Taking", (Collector,), {"metrics": [], "traces": [], "status": 200})
    server = http.server.HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kind
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
