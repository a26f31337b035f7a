/* A PKCS#11 module for tests: forwards to the real one and, by files in SPY_DIRECTORY,
 * counts calls of C_Login (one octet each in `logins`), never returns from C_Sign while
 * `hang` exists, and answers C_Sign with the number written in `answer` while it exists. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long rv;
typedef rv (*function)();

/* CK_FUNCTION_LIST of PKCS#11 2.40: a version, then the functions in the order of the standard. */
struct list {
    unsigned char version[2];
    function functions[68];
};
enum { GET_FUNCTION_LIST = 3, LOGIN = 18, SIGN = 43 };

static struct list spied;
static struct list *real;

static void path_of(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/%s", getenv("SPY_DIRECTORY"), name);
}

static rv login(unsigned long session, unsigned long user, char *pin, unsigned long length) {
    char path[4096];
    path_of(path, sizeof path, "logins");
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (write(file, "L", 1) != 1)
        abort();
    close(file);
    return real->functions[LOGIN](session, user, pin, length);
}

static rv sign(unsigned long session, char *data, unsigned long length, char *signature, unsigned long *size) {
    char path[4096];
    unsigned long answer = 0;
    path_of(path, sizeof path, "hang");
    while (access(path, F_OK) == 0)
        pause();
    path_of(path, sizeof path, "answer");
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        if (fscanf(file, "%lx", &answer) != 1)
            abort();
        fclose(file);
        return answer;
    }
    return real->functions[SIGN](session, data, length, signature, size);
}

rv C_GetFunctionList(struct list **list) {
    void *module = dlopen(getenv("SPY_MODULE"), RTLD_NOW);
    if (module == NULL)
        return 5; /* CKR_GENERAL_ERROR */
    rv (*get)(struct list **) = (rv (*)(struct list **))dlsym(module, "C_GetFunctionList");
    rv answer = get(&real);
    if (answer != 0)
        return answer;
    memcpy(&spied, real, sizeof spied);
    spied.functions[GET_FUNCTION_LIST] = (function)C_GetFunctionList;
    spied.functions[LOGIN] = (function)login;
    spied.functions[SIGN] = (function)sign;
    *list = &spied;
    return 0;
}
