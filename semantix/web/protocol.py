"""uvicorn's HTTP protocol, with a problem document for a request that it cannot parse."""

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONTENT = json.dumps(
    {
        "type": "urn:semantix:problem:bad-request",
        "title": "Bad Request",
        "status": 400,
        "detail": "The request is not valid HTTP, or its address is longer than 65,535 characters.",
    }
).encode()
ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(CONTENT), CONTENT)
)


class Protocol(HttpToolsProtocol):
    def send_400_response(self, msg: str) -> None:
        self.transport.write(ANSWER)
        self.transport.close()
