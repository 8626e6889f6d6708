"""The embedded PostgreSQL: one server for one data folder, shared by every process that opens the folder.

    with EmbeddedServer.attach(data_dir) as server:
        server.url()            # of the database `earmark`

The first process starts the server, later ones attach, the last one to leave stops it. `stop(data_dir)` stops
a server that killed processes left running. Layout of the data folder:

    users.lock                    held shared by every user; the kernel releases it however a process ends
    start.lock                    held exclusively for the moment of starting, attaching or stopping
    postgres.log                  the server's log; postgres.log.1 is the one before
    pg_hba.conf, pg_ident.conf    who may connect: the user who owns the folder, through the socket
    socket_folder                 where the socket is, when that is not in this folder
    postgres/                     owned by the account that runs the server
        cluster/                  PostgreSQL's own folder
        socket/                   the only way in, mode 0700; in a temporary folder when its path is long

Not covered: backups, replication, TCP. For those, run a PostgreSQL of your own and pass its URL.
"""

from registry.postgres.server import EmbeddedServer, stop

__all__ = ["EmbeddedServer", "stop"]
