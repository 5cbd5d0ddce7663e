#include "vmm/function/kernel_bundle.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

TEST(KernelBundleTest, FileIsAKernelWithoutModules) {
  const Scratch scratch;
  const std::string kernel = scratch.Write("any-name", "");
  EXPECT_EQ(*ResolveKernel(kernel), (KernelBundle{.kernel = kernel}));
}

TEST(KernelBundleTest, DirectoryGivesKernelAndModulesInOrder) {
  const Scratch scratch;
  scratch.Write("vmlinuz", "");
  scratch.Write("modules/b.ko", "");
  scratch.Write("modules/a.ko", "");
  scratch.Write("modules/load-order", "b.ko\n\na.ko");
  EXPECT_EQ(*ResolveKernel(scratch.path()),
            (KernelBundle{.kernel = scratch / "vmlinuz",
                          .modules = {scratch / "modules/b.ko", scratch / "modules/a.ko"}}));
}

TEST(KernelBundleTest, VmlinuxGoesBeforeBzImage) {
  const Scratch scratch;
  scratch.Write("bzImage", "");
  scratch.Write("vmlinux", "");
  EXPECT_EQ(ResolveKernel(scratch.path())->kernel, scratch / "vmlinux");
}

TEST(KernelBundleTest, MissingKernelIsNamed) {
  const Scratch scratch;
  EXPECT_EQ(CodeOf(ResolveKernel(scratch / "absent")), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(MessageOf(ResolveKernel(scratch / "absent")), "absent: No such file"));
  EXPECT_TRUE(Mentions(MessageOf(ResolveKernel(scratch.path())), "no vmlinux, bzImage or vmlinuz"));
}

TEST(KernelBundleTest, OtherKindsOfFileAreRefused) {
  EXPECT_EQ(CodeOf(ResolveKernel("/dev/null")), ErrorCode::kCorrupt);
}

TEST(KernelBundleTest, MissingModuleIsNamed) {
  const Scratch scratch;
  scratch.Write("vmlinux", "");
  scratch.Write("modules/load-order", "gone.ko\n");
  EXPECT_TRUE(Mentions(MessageOf(ResolveKernel(scratch.path())), "gone.ko: No such file"));
}

TEST(KernelBundleTest, ModulesOutsideOfTheBundleAreRefused) {
  const Scratch scratch;
  scratch.Write("vmlinux", "");
  scratch.Write("modules/load-order", "../../x.ko\n");
  EXPECT_EQ(CodeOf(ResolveKernel(scratch.path())), ErrorCode::kCorrupt);
}

TEST(KernelBundleTest, DefaultIsTheVariableThenMinimalThenDebian) {
  const Scratch scratch;
  const ScopedVariable kernel("MAYFLY_KERNEL", std::nullopt);
  const ScopedVariable cache("MAYFLY_CACHE", scratch.path());
  EXPECT_TRUE(Mentions(MessageOf(FindDefaultKernel()), "scripts/fetch-guest-kernel"));
  EXPECT_TRUE(Mentions(MessageOf(FindDefaultKernel()), "scripts/build-guest-kernel"));
  scratch.Write("kernels/debian/vmlinuz", "");
  EXPECT_EQ(*FindDefaultKernel(), scratch / "kernels/debian");
  scratch.Write("kernels/minimal/vmlinux", "");
  EXPECT_EQ(*FindDefaultKernel(), scratch / "kernels/minimal");
  const ScopedVariable named("MAYFLY_KERNEL", "/somewhere");
  EXPECT_EQ(*FindDefaultKernel(), "/somewhere");
}

TEST(KernelBundleTest, CacheFollowsTheVariables) {
  const ScopedVariable none("MAYFLY_CACHE", std::nullopt);
  const ScopedVariable home("HOME", "/h");
  const ScopedVariable no_xdg("XDG_CACHE_HOME", std::nullopt);
  EXPECT_EQ(KernelCacheDirectory(), "/h/.cache/mayfly/kernels");
  const ScopedVariable xdg("XDG_CACHE_HOME", "/x");
  EXPECT_EQ(KernelCacheDirectory(), "/x/mayfly/kernels");
}

}  // namespace
}  // namespace mayfly
