"""`munjang serve`: the gRPC server, configured by MUNJANG_… variables."""

from munjang_server.leaving import leave
from munjang_server.main import main

if __name__ == "__main__":
    leave(main())
