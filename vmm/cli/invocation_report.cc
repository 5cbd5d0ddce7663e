#include "vmm/cli/invocation_report.h"

#include <openssl/evp.h>
#include <rapidjson/encodedstream.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "base/file.h"

namespace mayfly {
namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

bool IsUtf8(std::string_view text) {
  rapidjson::MemoryStream stream(text.data(), text.size());
  rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> input(stream);
  rapidjson::StringBuffer output;
  while (input.Tell() < text.size()) {
    if (!rapidjson::UTF8<>::Validate(input, output)) return false;
    output.Clear();
  }
  return true;
}

std::string Base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                  reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  return text;
}

void WriteString(Writer& writer, std::string_view text) {
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

// "name": text, or "name_base64" if the text is none.
void WriteText(Writer& writer, const std::string& name, std::string_view text) {
  if (IsUtf8(text)) {
    writer.Key(name.c_str());
    WriteString(writer, text);
  } else {
    writer.Key((name + "_base64").c_str());
    WriteString(writer, Base64(text));
  }
}

void WriteMicroseconds(Writer& writer, const char* name, std::chrono::steady_clock::duration time) {
  writer.Key(name);
  writer.Int64(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

}  // namespace

std::string_view NameOf(control::LogStream stream) {
  switch (stream) {
    case control::LogStream::kStdout:
      return "stdout";
    case control::LogStream::kStderr:
      return "stderr";
    case control::LogStream::kInit:
      return "init";
  }
  return "unknown";
}

void InvocationReport::SetLoaded(const FunctionMachine::Timings& timings,
                                 std::chrono::steady_clock::time_point start) {
  timings_ = timings;
  start_ = start;
}

void InvocationReport::SetRestored(const FunctionMachine::Timings& timings,
                                   std::chrono::steady_clock::time_point start) {
  restored_ = true;
  SetLoaded(timings, start);
}

void InvocationReport::Add(InvocationResult result, std::vector<LogEntry> log) {
  entries_.push_back({std::move(result), std::move(log)});
}

std::string InvocationReport::ToJson() const {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.StartObject();
  writer.Key("timings");
  writer.StartObject();
  if (restored_) {
    WriteMicroseconds(writer, "restore_us", timings_.created - start_);
  } else {
    WriteMicroseconds(writer, "prepare_us", timings_.created - start_);
    WriteMicroseconds(writer, "boot_us", timings_.hello - timings_.created);
    WriteMicroseconds(writer, "load_us", timings_.ready - timings_.hello);
    WriteMicroseconds(writer, "ready_us", timings_.ready - start_);
    // CLOCK_MONOTONIC, for whoever has measured from outside when the process was started.
    writer.Key("ready_monotonic_ns");
    writer.Int64(
        std::chrono::duration_cast<std::chrono::nanoseconds>(timings_.ready.time_since_epoch())
            .count());
  }
  writer.EndObject();
  writer.Key("invocations");
  writer.StartArray();
  for (const Entry& entry : entries_) {
    writer.StartObject();
    if (entry.result.error) {
      writer.Key("error");
      writer.StartObject();
      writer.Key("type");
      WriteString(writer, entry.result.error->type);
      WriteText(writer, "message", entry.result.error->message);
      writer.EndObject();
    } else {
      WriteText(writer, "answer", AsText(entry.result.answer));
    }
    WriteMicroseconds(writer, "total_us", entry.result.total);
    writer.Key("handler_us");
    writer.Uint64(entry.result.handler_us);
    writer.Key("max_memory_bytes");
    writer.Uint64(entry.result.max_memory_bytes);
    writer.Key("log_dropped_bytes");
    writer.Uint64(entry.result.log_dropped_bytes);
    writer.Key("log");
    writer.StartArray();
    for (const LogEntry& line : entry.log) {
      writer.StartObject();
      writer.Key("stream");
      WriteString(writer, NameOf(line.stream));
      WriteText(writer, "text", line.text);
      writer.EndObject();
    }
    writer.EndArray();
    writer.EndObject();
  }
  writer.EndArray();
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

}  // namespace mayfly
