#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "snapshot/manifest.h"
#include "snapshot/snapshot_directory.h"
#include "vmm/function/image.h"

namespace mayfly {

// The processor's name, from CPUID.
std::string HostCpuName();

// The manifest of a snapshot that is made of a function with this image and network devices on
// `taps`, as far as it is known before the snapshot.
Result<Manifest> ManifestOfFunction(const FunctionImage& image,
                                    const std::vector<std::string>& taps);

// The manifest of a snapshot that lies over `parent`, made of a clone of it: with the function's
// image `image` and network devices on `taps`, where they are not as there. kInvalidArgument if
// another snapshot has the parent's name by now: `digest` is that of the manifest which the clone
// was made of, in hexadecimal.
Result<Manifest> ManifestOfLayer(const Snapshot& parent, const std::string& digest,
                                 const std::string& image, const std::vector<std::string>& taps);

// The image of the function that the manifest's snapshot was made of: `elsewhere`, or if that is
// empty the file that the manifest names. kInvalidArgument if the snapshot is none of a function,
// or the image is another.
Result<FunctionImage> ImageOf(const Manifest& manifest, const std::string& elsewhere);

}  // namespace mayfly
