#include "cuda/layerwise/lt_library.h"

#include <mutex>
#include <utility>

#include "core/platform.h"

namespace fd::cuda::lt {
namespace {

constexpr const char* file_name = "libcublasLt.so.13";

struct Library {
    std::mutex lock;
    std::vector<std::string> folders;
    bool searched = false, found = false;
    Functions functions{};
    std::string path, tried;
};
Library& library() {
    static Library instance;
    return instance;
}

// Null, or the name of what is missing.
const char* bind(void* file, Functions& f) {
#define FD_BIND(field, entry)                                                      \
    f.field = reinterpret_cast<decltype(f.field)>(platform::symbol(file, #entry)); \
    if (!f.field) return #entry;
    FD_CUBLASLT(FD_BIND)
#undef FD_BIND
    return nullptr;
}

bool open(Library& l, const std::string& name, platform::Loading how, const std::string& refusal) {
    std::string error;
    void* file = platform::open_library(name, how, error);
    if (!file) {
        l.tried += "\n  " + (refusal.empty() ? error : refusal);
        return false;
    }
    if (const char* missing = bind(file, l.functions)) {
        l.tried += "\n  " + name + ": has no " + missing;
        platform::close_library(file);
        return false;
    }
    const std::string found = platform::file_of(reinterpret_cast<void*>(l.functions.create));
    l.path = found.empty() ? name : found;
    return true;
}

void search(Library& l) {
    l.searched = true;
    l.tried.clear();
    l.found = open(l, file_name, platform::Loading::loaded,
                   std::string(file_name) + ": no other package of this process has loaded it");
    for (size_t i = 0; !l.found && i < l.folders.size(); ++i)
        l.found = open(l, l.folders[i] + "/" + file_name, platform::Loading::shared, "");
    if (!l.found) l.found = open(l, file_name, platform::Loading::shared, "");
}

}  // namespace

void set_library_folders(std::vector<std::string> folders) {
    Library& l = library();
    const std::lock_guard<std::mutex> guard(l.lock);
    l.folders = std::move(folders);
    l.searched = l.found;
}

const Functions* functions() {
    Library& l = library();
    const std::lock_guard<std::mutex> guard(l.lock);
    if (!l.searched) search(l);
    return l.found ? &l.functions : nullptr;
}

std::string why_unavailable() {
    if (functions()) return "";
    Library& l = library();
    const std::lock_guard<std::mutex> guard(l.lock);
    return "cuBLASLt 13 was not found; `pip install fastdense[cuda]` installs it. Tried:" + l.tried;
}

std::string path() { return functions() ? library().path : ""; }

size_t version() {
    const Functions* f = functions();
    return f ? f->version() : 0;
}

}  // namespace fd::cuda::lt
