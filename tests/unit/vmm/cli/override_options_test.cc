#include "vmm/cli/override_options.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

TEST(ParseOverrideOptionTest, ErrorsNameTheOptionAndTheKey) {
  EXPECT_EQ(MessageOf(ParseOverrideOption({"generation=0011"})),
            "--override: generation: \"0011\": expected 32 hexadecimal digits");
}

}  // namespace
}  // namespace mayfly
