/* Paho C, its asynchronous library (Debian: libpaho-mqtt-dev). Speaks the lines that ../program.ts describes. */
#include <MQTTAsync.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static MQTTAsync client;
static int version;
static int connected_once;

static const char *env(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

static void fail(const char *what, int code) {
  printf("refused %s: %s (%d)\n", what, MQTTAsync_strerror(code), code);
  exit(1);
}

/* What a program that prints what the library tells would print. Called again when it cannot yet connect again. */
static void on_refused(void *context, MQTTAsync_failureData *data) {
  (void)context;
  if (connected_once) return;
  printf("refused %s (code %d)\n", data->message ? data->message : MQTTAsync_strerror(data->code), data->code);
  exit(1);
}

static void on_refused5(void *context, MQTTAsync_failureData5 *data) {
  (void)context;
  if (connected_once) return;
  printf("refused %s (code %d, reason code %d %s)\n", data->message ? data->message : MQTTAsync_strerror(data->code),
         data->code, data->reasonCode, MQTTReasonCode_toString(data->reasonCode));
  exit(1);
}

/* Also after the library has connected again by itself. */
static void on_connected(void *context, char *cause) {
  (void)context;
  (void)cause;
  if (!connected_once++) printf("connected\n");
}

static int on_message(void *context, char *topic, int length, MQTTAsync_message *message) {
  (void)context;
  (void)length;
  printf("message %d %d %s %.*s\n", message->qos, message->retained, topic, message->payloadlen,
         (char *)message->payload);
  MQTTAsync_freeMessage(&message);
  MQTTAsync_free(topic);
  return 1;
}

static void on_subscribed(void *context, MQTTAsync_successData *data) {
  (void)context;
  (void)data;
  printf("subscribed\n");
}
static void on_subscribed5(void *context, MQTTAsync_successData5 *data) {
  (void)data;
  on_subscribed(context, NULL);
}

static void told(const char *what, char *payload) {
  printf("%s %s\n", what, payload);
  free(payload);
}
static void on_published(void *payload, MQTTAsync_successData *data) {
  (void)data;
  told("published", payload);
}
static void on_published5(void *payload, MQTTAsync_successData5 *data) {
  (void)data;
  told("published", payload);
}
static void on_failed(void *payload, MQTTAsync_failureData *data) {
  (void)data;
  told("failed", payload);
}
static void on_failed5(void *payload, MQTTAsync_failureData5 *data) {
  (void)data;
  told("failed", payload);
}

static void subscribe(const char *topic, int qos) {
  MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
  if (version == MQTTVERSION_5) options.onSuccess5 = on_subscribed5;
  else options.onSuccess = on_subscribed;
  int code = MQTTAsync_subscribe(client, topic, qos, &options);
  if (code != MQTTASYNC_SUCCESS) fail("subscribe", code);
}

static void publish(const char *topic, const char *payload, int qos, int retained) {
  MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
  options.context = strdup(payload);
  if (version == MQTTVERSION_5) {
    options.onSuccess5 = on_published5;
    options.onFailure5 = on_failed5;
  } else {
    options.onSuccess = on_published;
    options.onFailure = on_failed;
  }
  int code = MQTTAsync_send(client, topic, (int)strlen(payload), payload, qos, retained, &options);
  if (code != MQTTASYNC_SUCCESS) told("failed", options.context);
}

static int is_secure(const char *transport) {
  return strcmp(transport, "mqtts") == 0 || strcmp(transport, "wss") == 0;
}

static void connect_it(void) {
  MQTTAsync_connectOptions options3 = MQTTAsync_connectOptions_initializer;
  MQTTAsync_connectOptions options5 = MQTTAsync_connectOptions_initializer5;
  MQTTAsync_connectOptions options = version == MQTTVERSION_5 ? options5 : options3;
  MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
  MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
  MQTTProperties properties = MQTTProperties_initializer;
  int stored = strcmp(env("CLIENT_STORED"), "1") == 0;

  options.MQTTVersion = version;
  options.username = env("CLIENT_USERNAME");
  options.password = env("CLIENT_PASSWORD");
  options.automaticReconnect = 1;
  options.minRetryInterval = 1;
  options.maxRetryInterval = 1;
  options.maxInflight = 100;
  if (version == MQTTVERSION_5) {
    options.cleanstart = !stored;
    if (stored) {
      MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, .value.integer4 = 3600};
      MQTTProperties_add(&properties, &expiry);
      options.connectProperties = &properties;
    }
    options.onFailure5 = on_refused5;
  } else {
    options.cleansession = !stored;
    options.onFailure = on_refused;
  }
  will.topicName = env("CLIENT_WILL_TOPIC");
  will.message = "gone";
  will.qos = 1;
  options.will = &will;
  if (is_secure(env("CLIENT_TRANSPORT"))) {
    tls.trustStore = env("CLIENT_CA_FILE");
    tls.verify = 1;
    options.ssl = &tls;
  }
  int code = MQTTAsync_connect(client, &options);
  if (code != MQTTASYNC_SUCCESS) fail("connect", code);
}

int main(void) {
  char uri[512], line[4096];
  const char *transport = env("CLIENT_TRANSPORT");
  int is_web_socket = transport[0] == 'w';
  const char *scheme = is_web_socket ? transport : strcmp(transport, "mqtts") == 0 ? "ssl" : "tcp";
  snprintf(uri, sizeof uri, "%s://%s:%s%s", scheme, env("CLIENT_HOST"), env("CLIENT_PORT"), is_web_socket ? "/mqtt" : "");
  version = atoi(env("CLIENT_VERSION"));
  setvbuf(stdout, NULL, _IOLBF, 0);

  MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer;
  options.MQTTVersion = version;
  options.sendWhileDisconnected = 1;
  options.maxBufferedMessages = 1000;
  int code =
      MQTTAsync_createWithOptions(&client, uri, env("CLIENT_ID"), MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
  if (code != MQTTASYNC_SUCCESS) fail("create", code);
  MQTTAsync_setCallbacks(client, NULL, NULL, on_message, NULL);
  MQTTAsync_setConnected(client, NULL, on_connected);
  connect_it();

  while (fgets(line, sizeof line, stdin)) {
    char topic[1024], payload[1024];
    int qos, retained, count;
    if (sscanf(line, "sub %d %1023s", &qos, topic) == 2) subscribe(topic, qos);
    else if (sscanf(line, "pub %d %d %1023s %1023s", &qos, &retained, topic, payload) == 4)
      publish(topic, payload, qos, retained);
    else if (sscanf(line, "burst %d %1023s", &count, topic) == 2)
      for (int i = 0; i < count; i++) {
        snprintf(payload, sizeof payload, "%d", i);
        publish(topic, payload, 1, 0);
      }
    else if (strcmp(line, "end\n") == 0) {
      MQTTAsync_disconnectOptions leave = MQTTAsync_disconnectOptions_initializer;
      leave.timeout = 1000;
      MQTTAsync_disconnect(client, &leave);
      break;
    }
  }
  return 0;
}
