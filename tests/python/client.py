"""A stock gRPC client: grpcio and the published proto file, nothing of ours.

Reads one command per line and answers each with one line of JSON, so that a test can ask often
without starting a process each time:

    discover ADDRESS SERVICE MAX    [[host, port], ...] of DiscoverServices
    top ADDRESS SERVICE MAX         [[host, port], ...] of DiscoverTopServices
    health ADDRESS [NAME]           the name of the status that grpc.health.v1.Health answers

A call that fails is answered with {"code": ..., "details": ...}.
"""

import functools
import json
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# grpcio looks for proto files along sys.path.
sys.path.insert(0, str(Path(__file__).parents[2] / "proto"))
messages, services = grpc.protos_and_services("service_discovery.proto")

SECONDS_PER_CALL = 5


@functools.cache
def channel(address):
    return grpc.insecure_channel(address)


def discover(method, address, service, max_count):
    stub = services.ServiceDiscoveryGrpcStub(channel(address))
    request = messages.DiscoverServicesRequest(service_name=service, max_count=int(max_count))
    answer = getattr(stub, method)(request, timeout=SECONDS_PER_CALL)
    return [[location.host_name, location.port] for location in answer.service_locations]


def health(address, name=""):
    request = health_pb2.HealthCheckRequest(service=name)
    answer = health_pb2_grpc.HealthStub(channel(address)).Check(request, timeout=SECONDS_PER_CALL)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


COMMANDS = {
    "discover": functools.partial(discover, "DiscoverServices"),
    "top": functools.partial(discover, "DiscoverTopServices"),
    "health": health,
}


def main():
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            answer = COMMANDS[command](*arguments)
        except grpc.RpcError as error:
            answer = {"code": error.code().name, "details": error.details()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
