#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <array>
#include <cstring>

#include "base/file.h"
#include "tests/capi/api_fixture.h"
#include "tests/support/net_namespace.h"

namespace mayfly {
namespace {

// Settings of a function's network devices.
class ApiNetSettingsTest : public ApiFixture {
 protected:
  static constexpr size_t kNets = 2;

  void SetUp() override {
    ApiFixture::SetUp();
    if (IsSkipped()) return;
    settings_.fill(MAYFLY_NET_SETTINGS_INIT);
    nets_.fill({"no-such-tap", nullptr, nullptr, nullptr, nullptr});
    options_ = BootOptions();
    options_.snapshot = 1;
    options_.nets = nets_.data();
    options_.net_count = 1;
    options_.net_settings = settings_.data();
    ASSERT_EQ(mayfly_image_open(lib_, ImagePath().c_str(), &image_), MAYFLY_OK);
  }
  void TearDown() override {
    if (image_ != nullptr) {
      EXPECT_EQ(mayfly_image_close(image_), MAYFLY_OK);
    }
    ApiFixture::TearDown();
  }

  // Boots what is set, and returns the code and, after a blank, the text.
  std::string Refusal() {
    mayfly_function* function = nullptr;
    const int code = mayfly_function_boot(image_, &options_, &function);
    EXPECT_EQ(function, nullptr);
    return std::to_string(code) + " " + ErrorOf(image_);
  }
  static std::string Invalid(const std::string& text) {
    return std::to_string(MAYFLY_E_INVALID) + " " + text;
  }

  // A tap of the network namespace, open.
  static UniqueFd OpenTap(const char* name) {
    auto tap = OpenFile("/dev/net/tun", O_RDWR | O_NONBLOCK);
    EXPECT_TRUE(tap);
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    EXPECT_EQ(::ioctl(tap->get(), TUNSETIFF, &request), 0);
    return *std::move(tap);
  }

  std::array<mayfly_net, kNets> nets_{};
  std::array<mayfly_net_settings, kNets> settings_{};
  mayfly_boot_options options_{};
  mayfly_image* image_ = nullptr;
};

TEST_F(ApiNetSettingsTest, OfNoNetAreRefused) {
  options_.net_count = 0;
  EXPECT_EQ(Refusal(), Invalid("net_settings: there are no nets"));
}

TEST_F(ApiNetSettingsTest, MtuHasItsBounds) {
  settings_[0].mtu = 67;
  EXPECT_EQ(Refusal(), Invalid("nets[0]: mtu: 67, but 68 to 65535 are possible"));
  settings_[0].mtu = 65536;
  EXPECT_EQ(Refusal(), Invalid("nets[0]: mtu: 65536, but 68 to 65535 are possible"));
  settings_[0].mtu = 1400;
  EXPECT_NE(Refusal().find("no-such-tap"), std::string::npos);
}

TEST_F(ApiNetSettingsTest, ATapHasANameOrADescriptor) {
  nets_[0].tap = nullptr;
  EXPECT_EQ(Refusal(), Invalid("nets[0]: tap: a name or a descriptor is needed"));
  settings_[0].fd = -1;
  EXPECT_EQ(Refusal(), Invalid("nets[0]: fd: negative"));
}

TEST_F(ApiNetSettingsTest, SizesAreThatOfTheFirst) {
  options_.net_count = kNets;
  settings_[1].size -= sizeof(uint64_t);
  EXPECT_EQ(Refusal(), Invalid("net_settings[1]: another size than the first one has"));
  settings_[1].size = 0;
  EXPECT_EQ(Refusal(), Invalid("net_settings[1]: options: their size is not set"));
  settings_[0].size = 0;
  EXPECT_EQ(Refusal(), Invalid("net_settings[0]: options: their size is not set"));
}

TEST_F(ApiNetSettingsTest, OfANewerCallerAreAsFarApartAsTheySay) {
  struct Newer {
    mayfly_net_settings known;
    uint64_t more;
  };
  std::array<Newer, kNets> newer{};
  for (Newer& settings : newer) settings.known.size = sizeof(Newer);
  options_.net_count = kNets;
  options_.net_settings = &newer[0].known;
  newer[1].known.mtu = 67;
  EXPECT_EQ(Refusal(), Invalid("nets[1]: mtu: 67, but 68 to 65535 are possible"));
  newer[1].more = 1;
  EXPECT_TRUE(Refusal().starts_with(std::to_string(MAYFLY_E_UNSUPPORTED) + " net_settings[1]: "));
}

TEST_F(ApiNetSettingsTest, AnOpenTapServesAndIsNamedToNobody) {
  const bool ran = InNetNamespace([this] {
    ASSERT_TRUE(Ip("tuntap add tap0 mode tap"));
    const UniqueFd tap = OpenTap("tap0");
    nets_[0].tap = nullptr;
    settings_[0].fd = tap.get();
    settings_[0].filter_source = 1;
    settings_[0].receive_bytes.per_second = 1 << 20;
    mayfly_function* function = nullptr;
    ASSERT_EQ(mayfly_function_boot(image_, &options_, &function), MAYFLY_OK) << ErrorOf(image_);
    EXPECT_EQ(Invoke(function, "hello"), "hello");
    const std::string path = PathFor("with-tap");
    EXPECT_EQ(mayfly_function_snapshot(function, path.c_str()), MAYFLY_OK) << ErrorOf(function);
    EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);

    mayfly_snapshot* snapshot = nullptr;
    ASSERT_EQ(mayfly_snapshot_open(lib_, path.c_str(), nullptr, &snapshot), MAYFLY_OK);
    EXPECT_EQ(mayfly_restore(snapshot, nullptr, &function), MAYFLY_E_INVALID);
    EXPECT_NE(ErrorOf(snapshot).find("had an inherited tap"), std::string::npos);
    mayfly_restore_options restore = MAYFLY_RESTORE_OPTIONS_INIT;
    restore.nets = nets_.data();
    restore.net_count = 1;
    restore.net_settings = settings_.data();
    EXPECT_EQ(mayfly_restore(snapshot, &restore, &function), MAYFLY_OK) << ErrorOf(snapshot);
    EXPECT_EQ(Invoke(function, "again"), "again");
    EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
    settings_[0].link_down = 1;
    EXPECT_EQ(mayfly_restore(snapshot, &restore, &function), MAYFLY_E_INVALID);
    EXPECT_EQ(ErrorOf(snapshot), "net_settings: mtu and link_down are as they were saved");
    EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
  });
  if (!ran) GTEST_SKIP() << "needs root for a network namespace";
}

}  // namespace
}  // namespace mayfly
