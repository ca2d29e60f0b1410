/* Disables transports of Open MPI that fail where this process was launched (launcher.h), unless
 * the user chose them. */
#ifndef DN_TRANSPORTS_H
#define DN_TRANSPORTS_H

/* Sets environment variables; to be called before MPI starts. Not collective. */
void dn_choose_transports(void);

#endif
