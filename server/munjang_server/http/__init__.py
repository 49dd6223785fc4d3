"""The HTTP door: other servers' dialects and our own contract as JSON, over the same calls as gRPC.

server        how it listens, starts and stops
connection    one connection: its limits, and a client that hangs up
endpoint      one route: identity, body, deadline, accounting, the answer
body          a request's body: bounded, in time, JSON checked by a model
errors        HTTP statuses and headers of errors
openai, tei, connect, operations    the dialects, a file each
playground    a page to try the models and watch the server; its files are in static/
routes        which path leads where
openapi       the document of all of them
"""
