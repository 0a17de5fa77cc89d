// csrc/cuda/layerwise/lt_library.cpp: where it looks for cuBLASLt, and what it says when there is none. Arguments: the folder of
// a fake libcublasLt.so.13 (tests/emulator/fake_cublaslt.cpp), and "loaded" if this process is to load it before the
// search.
#include <dlfcn.h>
#include <math.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "cuda/layerwise/lt_library.h"

namespace {

using namespace fd::cuda::lt;
namespace fs = std::filesystem;

int passed = 0, failed = 0;

void check(bool ok, const std::string& what) {
    ++(ok ? passed : failed);
    if (!ok) std::printf("FAILED: %s\n", what.c_str());
}

std::string file_of(void* symbol) {
    Dl_info info;
    return dladdr(symbol, &info) && info.dli_fname ? info.dli_fname : "";
}

void found(const std::string& file) {
    check(available() && why_unavailable().empty(), "found");
    check(fs::equivalent(path(), file), "path: " + path());
    check(version() == 130300, "version: " + std::to_string(version()));
    const Functions* f = functions();
    check(f->status_name(Status::not_supported) == std::string("CUBLAS_STATUS_NOT_SUPPORTED"), "status name");
    Layout layout = nullptr;
    check(f->layout_create(&layout, DataType::f32, 2, 3, 2) == Status::success && layout, "layout");
    check(f->layout_destroy(layout) == Status::success, "layout destroyed");
}

void search(const std::string& folder) {
    std::string work = (fs::temp_directory_path() / "fastdense-XXXXXX").string();
    check(mkdtemp(work.data()), "temporary folder");
    const std::string name = "libcublasLt.so.13";
    for (const char* part : {"empty", "text", "foreign"}) fs::create_directory(work + "/" + part);
    std::ofstream(work + "/text/" + name) << "not a library";
    fs::create_symlink(fs::absolute(file_of(reinterpret_cast<void*>(static_cast<double (*)(double)>(cbrt)))),
                       work + "/foreign/" + name);

    const bool on_this_system = available();  // where CUDA is installed for all, the last place to look has it
    set_library_folders({work + "/empty", work + "/text", work + "/foreign"});
    if (on_this_system) {
        std::printf("not tested: what is said where there is no cuBLASLt; this system has %s\n", path().c_str());
    } else {
        check(!available() && path().empty() && version() == 0, "not found");
        const std::string why = why_unavailable();
        const auto says = [&](const std::string& words) {
            check(why.find(words) != std::string::npos, words + " in: " + why);
        };
        says("cuBLASLt 13 was not found; `pip install fastdense[cuda]` installs it. Tried:\n  " + name +
             ": no other package");
        says("\n  " + work + "/empty/" + name + ": cannot open shared object file");
        says("\n  " + work + "/text/" + name + ": ");
        says("\n  " + work + "/foreign/" + name + ": has no cublasLtCreate");
        says("\n  " + name + ": cannot open shared object file");
        set_library_folders({work + "/empty", folder, work + "/text"});  // a failed search is done again
        found(folder + "/" + name);
        set_library_folders({work + "/empty"});  // and one that succeeded is not
        found(folder + "/" + name);
    }
    fs::remove_all(work);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::printf("usage: %s FOLDER [loaded]\n", argv[0]);
        return 2;
    }
    const std::string folder = argv[1], file = folder + "/libcublasLt.so.13";
    if (argc > 2) {  // as PyTorch would
        check(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL), "loaded");
        found(file);
    } else {
        search(folder);
    }
    std::printf("%d checks passed, %d failed\n", passed, failed);
    return failed != 0;
}
