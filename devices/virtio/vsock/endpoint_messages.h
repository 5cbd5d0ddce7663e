#pragma once

#include <cstdint>

// What goes between BrokeredEndpoint and EndpointBroker, a message a packet.
namespace mayfly::endpoint {

enum class Want : uint32_t { kClient = 1, kConnection = 2 };

struct Request {
  uint64_t number;  // Of this machine's requests.
  Want want;
  uint32_t port;  // For kConnection.
};

// With the socket as SCM_RIGHTS, if there is one.
struct Answer {
  uint64_t number;  // The request's.
  int32_t error;    // errno; 0 with a socket.
  uint32_t unused;
};

}  // namespace mayfly::endpoint
