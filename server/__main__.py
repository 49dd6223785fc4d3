"""`python -m server`: the gRPC server, configured by MUNJANG_… variables."""

from server.leaving import leave
from server.main import main

if __name__ == "__main__":
    leave(main())
