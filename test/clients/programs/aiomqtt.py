"""asyncio-mqtt, today's aiomqtt (Debian: python3-asyncio-mqtt). Speaks the lines that ../program.ts describes."""

import asyncio
import os
import ssl
import sys

import asyncio_mqtt as aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

env = {name[7:]: value for name, value in os.environ.items() if name.startswith("CLIENT_")}
version = int(env["VERSION"])
is_stored = env["STORED"] == "1"


def say(*words):
    print(*words, flush=True)


def session():
    if version != 5:
        return {"clean_session": not is_stored}
    if not is_stored:
        return {"clean_start": True}
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    return {"clean_start": False, "properties": properties}


def new_client():
    is_secure = env["TRANSPORT"] in ("mqtts", "wss")
    return aiomqtt.Client(
        env["HOST"],
        int(env["PORT"]),
        username=env["USERNAME"],
        password=env["PASSWORD"],
        client_id=env["ID"],
        protocol=aiomqtt.ProtocolVersion(version),
        transport="websockets" if env["TRANSPORT"] in ("ws", "wss") else "tcp",
        tls_context=ssl.create_default_context(cafile=env["CA_FILE"]) if is_secure else None,
        will=aiomqtt.Will(env["WILL_TOPIC"], "gone", qos=1),
        **session(),
    )


async def publish(client, topic, payload, qos, retain):
    try:
        await client.publish(topic, payload, qos, retain)
        say("published", payload)
    except aiomqtt.MqttError:
        await asyncio.sleep(0.2)
        say("failed", payload)


async def listen(client):
    async with client.messages() as messages:
        async for message in messages:
            say("message", message.qos, int(message.retain), message.topic, message.payload.decode())


class Program:
    def __init__(self):
        self.client = None
        self.tasks = set()

    def start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def stay(self):
        """The library does not connect again by itself: its documentation has this loop."""
        was_in = False
        while True:
            try:
                client = new_client()
                async with client:
                    self.client = client
                    was_in = True
                    say("connected")
                    await listen(client)
            except aiomqtt.MqttError as error:
                if not was_in:
                    say("refused", error)
                    os._exit(1)
                await asyncio.sleep(1)

    async def subscribe(self, qos, topic):
        await self.client.subscribe(topic, qos)
        say("subscribed")

    async def obey(self):
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        while line := await reader.readline():
            order, *args = line.decode().split()
            if order == "sub":
                self.start(self.subscribe(int(args[0]), args[1]))
            elif order == "pub":
                self.start(publish(self.client, args[2], args[3], int(args[0]), args[1] == "1"))
            elif order == "burst":
                for i in range(int(args[0])):
                    self.start(publish(self.client, args[1], str(i), 1, False))
            elif order == "end":
                await self.client.disconnect()
                os._exit(0)


async def main():
    program = Program()
    await asyncio.gather(program.stay(), program.obey())


asyncio.run(main())
