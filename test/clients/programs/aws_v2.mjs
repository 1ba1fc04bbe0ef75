/** AWS IoT Device SDK 2: MQTT 3.1.1 and 5 through the AWS common runtime, with a user name and `?SDK=…` behind it. */
import awsIot from 'aws-iot-device-sdk-v2';
import { message, refused, say, serve, task } from './line.mjs';

const { iot, mqtt, mqtt5 } = awsIot;

function connect3() {
  const builder = iot.AwsIotMqttConnectionConfigBuilder.new_default_builder();
  builder.with_certificate_authority_from_path(undefined, task.caFile);
  builder.with_endpoint(task.host);
  builder.with_port(task.port);
  builder.with_client_id(task.clientId);
  builder.with_clean_session(!task.stored);
  builder.with_username(task.username);
  builder.with_password(task.password);
  builder.with_reconnect_min_sec(1);
  builder.with_reconnect_max_sec(1);
  builder.with_will(new mqtt.MqttWill(task.will.topic, task.will.qos, task.will.payload, false));
  const connection = new mqtt.MqttClient().new_connection(builder.build());
  connection.on('message', (topic, payload, _dup, qos, retain) =>
    message(topic, Buffer.from(payload).toString(), qos, retain),
  );
  connection.on('error', () => undefined); // Told by what it is about.
  connection.connect().then(
    () => say('connected'),
    (error) => refused(error.message ?? error),
  );
  return {
    subscribe: (topic, qos) => connection.subscribe(topic, qos),
    publish: (topic, payload, qos, retain) => connection.publish(topic, payload, qos, retain),
    end: () => connection.disconnect(),
  };
}

function connect5() {
  const account = { username: task.username, password: Buffer.from(task.password) };
  const make = task.isWebSocket ? 'newWebsocketMqttBuilderWithCustomAuth' : 'newDirectMqttBuilderWithCustomAuth';
  const builder = iot.AwsIotMqtt5ClientConfigBuilder[make](task.host, account);
  builder.withCertificateAuthorityFromPath(undefined, task.caFile);
  builder.withPort(task.port);
  builder.withMinReconnectDelayMs(500);
  builder.withMaxReconnectDelayMs(500);
  builder.withSessionBehavior(
    task.stored ? mqtt5.ClientSessionBehavior.RejoinAlways : mqtt5.ClientSessionBehavior.Clean,
  );
  builder.withConnectProperties({
    clientId: task.clientId,
    keepAliveIntervalSeconds: 60,
    ...(task.stored && { sessionExpiryIntervalSeconds: 3600 }),
    will: { topicName: task.will.topic, payload: task.will.payload, qos: task.will.qos },
  });
  const client = new mqtt5.Mqtt5Client(builder.build());
  let isIn = false;
  client.on('connectionSuccess', () => {
    if (!isIn) say('connected');
    isIn = true;
  });
  client.on('connectionFailure', ({ error }) => {
    if (!isIn) refused(error.message);
  });
  client.on('error', (error) => refused(error.message));
  client.on('messageReceived', ({ message: { topicName, payload, qos, retain } }) =>
    message(topicName, Buffer.from(payload ?? '').toString(), qos, retain),
  );
  client.start();
  return {
    subscribe: (topic, qos) => client.subscribe({ subscriptions: [{ topicFilter: topic, qos }] }),
    publish: (topicName, payload, qos, retain) => client.publish({ topicName, payload, qos, retain }),
    end: async () => client.stop(),
  };
}

serve(task.version === 5 ? connect5() : connect3());
