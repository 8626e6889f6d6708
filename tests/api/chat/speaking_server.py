"""A server with a parrot, to be killed: `python -m tests.api.chat.speaking_server PORT`.

Data folder and database come from the environment, as for `earmark serve`. Not a test itself.
"""

import sys

import uvicorn

from api.app import UVICORN_OPTIONS, create_app
from api.settings import Settings
from tests.api.chat.parrot import Parrot


def main(port: int) -> None:
    app = create_app(Settings(), lambda _: Parrot())
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", **UVICORN_OPTIONS)


if __name__ == "__main__":
    main(int(sys.argv[1]))
