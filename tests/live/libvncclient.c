/* A viewer without a window on libvncclient, the library of Remmina and KRDC: shows a certificate authority, a user and
 * a password, types a text, and writes what it sees into a file whenever that changes.
 *
 * PASSWORD=… libvncclient HOST PORT CA USER TEXT PICTURE.ppm; gcc -o libvncclient libvncclient.c -lvncclient
 */
#include <rfb/rfbclient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char **arguments;

static rfbCredential *credential(rfbClient *client, int type)
{
    rfbCredential *given = calloc(1, sizeof *given); /* which the library frees */
    (void)client;
    if (type == rfbCredentialTypeX509) {
        given->x509Credential.x509CACertFile = strdup(arguments[3]);
    } else {
        given->userCredential.username = strdup(arguments[4]);
        given->userCredential.password = strdup(getenv("PASSWORD"));
    }
    return given;
}

static void write_picture(rfbClient *client)
{
    char name[4096];
    FILE *file;
    int pixel;
    snprintf(name, sizeof name, "%s.new", arguments[6]);
    if ((file = fopen(name, "wb")) == NULL)
        exit(2);
    fprintf(file, "P6\n%d %d\n255\n", client->width, client->height);
    for (pixel = 0; pixel < client->width * client->height; pixel++)
        fwrite(client->frameBuffer + 4 * pixel, 1, 3, file); /* red, green, blue: the library's own format */
    fclose(file);
    rename(name, arguments[6]);
}

static void type(rfbClient *client, const char *text)
{
    for (; *text; text++) {
        uint32_t key = *text == '\n' ? XK_Return : *text;
        SendKeyEvent(client, key, TRUE);
        SendKeyEvent(client, key, FALSE);
        usleep(20000); /* a BIOS keeps fifteen */
    }
}

int main(int count, char **given)
{
    rfbClient *client = rfbGetClient(8, 3, 4);
    int waiting;
    if (count != 7 || getenv("PASSWORD") == NULL)
        return 2;
    arguments = given;
    client->serverHost = strdup(given[1]);
    client->serverPort = atoi(given[2]);
    client->GetCredential = credential;
    client->FinishedFrameBufferUpdate = write_picture;
    if (!rfbInitClient(client, NULL, NULL)) /* which frees it if it fails */
        return 1;
    type(client, given[5]);
    do
        waiting = WaitForMessage(client, 100000); /* microseconds */
    while (waiting == 0 || (waiting > 0 && HandleRFBServerMessage(client)));
    rfbClientCleanup(client);
    return 0;
}
