"""Run by test_hosts.py on every host: send megabytes to some hosts at a moment all agree on, and time it.

python tests/helpers/host_transfer.py MY_ADDRESS START_TIME SENDERS MEGABYTES [TARGET_ADDRESS ...]
prints the seconds from START_TIME until each target has all of it, as JSON.
"""

import json
import socket
import sys
import threading
import time

PORT = 5000


def receive(listener: socket.socket, size: int) -> None:
    connection, _ = listener.accept()
    left = size
    while left:
        left -= len(connection.recv(1 << 20))
    connection.sendall(b"x")


def send(target: str, size: int, start: float) -> float:
    connection, payload = socket.create_connection((target, PORT)), b"x" * size
    time.sleep(max(0.0, start - time.time()))
    connection.sendall(payload)
    connection.recv(1)
    return time.time() - start


def main(address: str, start: float, senders: int, size: int, targets: list[str]) -> None:
    listener = socket.create_server((address, PORT))
    seconds = {}
    threads = [threading.Thread(target=receive, args=(listener, size)) for _ in range(senders)]
    for target in targets:
        threads.append(threading.Thread(target=lambda t=target: seconds.update({t: send(t, size, start)})))
    for thread in threads[:senders]:
        thread.start()
    time.sleep(max(0.0, start - 0.5 - time.time()))  # by then every host listens
    for thread in threads[senders:]:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(float(sys.argv[4]) * 1e6), sys.argv[5:])
