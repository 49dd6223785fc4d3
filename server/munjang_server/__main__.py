"""`munjang serve` as `python -m munjang_server`: the gRPC server, configured by MUNJANG_… variables."""

from munjang_server.main import main
from munjang_server.shutdown import exit_process

if __name__ == "__main__":
    exit_process(main())
