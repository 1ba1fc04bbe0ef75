// Paho C++ (Debian: libpaho-mqttpp-dev). Speaks the lines that ../program.ts describes.
#include <mqtt/async_client.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>

static std::string env(const std::string &name) {
  const char *value = std::getenv(("CLIENT_" + name).c_str());
  return value ? value : "";
}

static void say(const std::string &line) {
  static std::mutex one;
  std::lock_guard<std::mutex> guard(one);
  std::cout << line << std::endl;
}

// Of one publish; it goes when the library has answered.
class Published : public mqtt::iaction_listener {
  std::string payload_;

public:
  explicit Published(std::string payload) : payload_(std::move(payload)) {}
  void on_success(const mqtt::token &) override { say("published " + payload_); }
  void on_failure(const mqtt::token &) override { say("failed " + payload_); }
};

class Subscribed : public mqtt::iaction_listener {
public:
  void on_success(const mqtt::token &) override { say("subscribed"); }
  void on_failure(const mqtt::token &) override { say("refused subscription"); }
};

static void publish(mqtt::async_client &client, const std::string &topic, const std::string &payload, int qos,
                    bool retain) {
  auto listener = new Published(payload); // Lives as long as the program: the library keeps a reference.
  try {
    client.publish(mqtt::make_message(topic, payload, qos, retain), nullptr, *listener);
  } catch (const mqtt::exception &) {
    say("failed " + payload);
  }
}

int main() {
  const std::string transport = env("TRANSPORT");
  const int version = std::stoi(env("VERSION"));
  const bool is_web_socket = transport[0] == 'w', is_secure = transport == "mqtts" || transport == "wss";
  const bool stored = env("STORED") == "1";
  const std::string scheme = is_web_socket ? transport : is_secure ? "ssl" : "tcp";
  const std::string uri = scheme + "://" + env("HOST") + ":" + env("PORT") + (is_web_socket ? "/mqtt" : "");

  auto create = mqtt::create_options_builder().mqtt_version(version).send_while_disconnected(true).max_buffered_messages(
      1000);
  mqtt::async_client client(uri, env("ID"), create.finalize());
  client.set_message_callback([](mqtt::const_message_ptr message) {
    std::ostringstream line;
    line << "message " << message->get_qos() << ' ' << message->is_retained() << ' ' << message->get_topic() << ' '
         << message->to_string();
    say(line.str());
  });

  mqtt::connect_options options;
  options.set_mqtt_version(version);
  options.set_user_name(env("USERNAME"));
  options.set_password(env("PASSWORD"));
  options.set_automatic_reconnect(1, 1);
  options.set_max_inflight(100);
  options.set_will_message(mqtt::make_message(env("WILL_TOPIC"), "gone", 1, false));
  if (version == MQTTVERSION_5) {
    options.set_clean_start(!stored);
    if (stored) options.set_properties({{mqtt::property::SESSION_EXPIRY_INTERVAL, 3600}});
  } else {
    options.set_clean_session(!stored);
  }
  if (is_secure) {
    mqtt::ssl_options tls;
    tls.set_trust_store(env("CA_FILE"));
    options.set_ssl(tls);
  }
  try {
    client.connect(options)->wait();
  } catch (const mqtt::exception &error) {
    say(std::string("refused ") + error.what());
    return 1;
  }
  say("connected");

  Subscribed subscribed;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string order, topic, payload;
    int qos, retain, count;
    words >> order;
    if (order == "sub" && words >> qos >> topic) client.subscribe(topic, qos, nullptr, subscribed);
    else if (order == "pub" && words >> qos >> retain >> topic >> payload)
      publish(client, topic, payload, qos, retain != 0);
    else if (order == "burst" && words >> count >> topic)
      for (int i = 0; i < count; i++) publish(client, topic, std::to_string(i), 1, false);
    else if (order == "end") {
      client.disconnect()->wait();
      break;
    }
  }
  return 0;
}
