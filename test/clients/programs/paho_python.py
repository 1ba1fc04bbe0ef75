"""Paho Python (Debian: python3-paho-mqtt). Speaks the lines that ../program.ts describes."""

import os
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

env = {name[7:]: value for name, value in os.environ.items() if name.startswith("CLIENT_")}
version = int(env["VERSION"])
is_stored = env["STORED"] == "1"
output = threading.Lock()
waiting = {}  # message identifiers of what was published, and what was published


def say(*words):
    with output:
        print(*words, flush=True)


def refused(words):
    say("refused", words)
    os._exit(1)


def on_connect(client, _userdata, _flags, code, _properties=None):
    if code != 0:
        refused(str(code) if version == 5 else mqtt.connack_string(code))
    say("connected")


def on_message(_client, _userdata, message):
    say("message", message.qos, int(message.retain), message.topic, message.payload.decode())


client = mqtt.Client(
    client_id=env["ID"],
    protocol=version,
    transport="websockets" if env["TRANSPORT"] in ("ws", "wss") else "tcp",
    **({} if version == 5 else {"clean_session": not is_stored}),
)
client.username_pw_set(env["USERNAME"], env["PASSWORD"])
client.will_set(env["WILL_TOPIC"], "gone", qos=1)
client.reconnect_delay_set(1, 1)
if env["TRANSPORT"] in ("mqtts", "wss"):
    client.tls_set(ca_certs=env["CA_FILE"])
client.on_connect = on_connect
client.on_message = on_message
client.on_subscribe = lambda *_: say("subscribed")
client.on_publish = lambda _client, _userdata, mid: acknowledged(mid)


# The acknowledgement may come, on the library's own thread, before publish() has returned the identifier.
publishing = threading.Lock()


def acknowledged(mid):
    with publishing:
        payload = waiting.pop(mid)
    say("published", payload)


def publish(topic, payload, qos, retain):
    with publishing:
        waiting[client.publish(topic, payload, qos, retain).mid] = payload


arguments = {}
if version == 5:
    arguments["clean_start"] = not is_stored
    if is_stored:
        arguments["properties"] = Properties(PacketTypes.CONNECT)
        arguments["properties"].SessionExpiryInterval = 3600
client.connect(env["HOST"], int(env["PORT"]), **arguments)
client.loop_start()

for line in sys.stdin:
    order, *args = line.split()
    if order == "sub":
        client.subscribe(args[1], int(args[0]))
    elif order == "pub":
        publish(args[2], args[3], int(args[0]), args[1] == "1")
    elif order == "burst":
        for i in range(int(args[0])):
            publish(args[1], str(i), 1, False)
    elif order == "end":
        client.disconnect()
        client.loop_stop()
        break
