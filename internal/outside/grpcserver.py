import concurrent.futures, sys
import grpc


class Talk(grpc.GenericRpcHandler):
    """Answers one message, or each of a stream as it comes."""

    def service(self, call):
        if call.method == "/test.Talk/Once":
            return grpc.unary_unary_rpc_method_handler(lambda asked, context: asked + b" speaks")
        if call.method == "/test.Talk/Stream":
            return grpc.stream_stream_rpc_method_handler(lambda asked, context: (b"<" + part + b">" for part in asked))


address, certificate, key = sys.argv[1:]
server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[Talk()])
with open(certificate, "rb") as c, open(key, "rb") as k:
    credentials = grpc.ssl_server_credentials([(k.read(), c.read())])
server.add_secure_port(address, credentials)
server.start()
print("serves", flush=True)
server.wait_for_termination()
